// Sends mail with nodemailer.  Reads {"transport": ..., "mails": [...], "verify": true or false} from standard input;
// "raw" of a mail is in base64.  Writes one array: for each mail what nodemailer reported, or its error.  The transport
// gets all mails at once; a pool decides itself what goes over which connection.
"use strict";

const fs = require("node:fs");
const nodemailer = require("nodemailer");

async function main() {
  const job = JSON.parse(fs.readFileSync(0, "utf8"));
  const transport = nodemailer.createTransport(job.transport);
  if (job.verify) {
    await transport.verify();
  }
  const mails = job.mails.map((mail) => (mail.raw ? { ...mail, raw: Buffer.from(mail.raw, "base64") } : mail));
  const outcomes = await Promise.allSettled(mails.map((mail) => transport.sendMail(mail)));
  transport.close();
  const reports = outcomes.map(({ value, reason }) =>
    value
      ? { response: value.response, accepted: value.accepted, rejected: value.rejected }
      : { error: reason.message, code: reason.code, responseCode: reason.responseCode },
  );
  console.log(JSON.stringify(reports));
}

main();
