// The part of an application that sends mail.
"use strict";

const { randomInt } = require("node:crypto");
const nodemailer = require("nodemailer");

async function sendCode(smtp, address) {
  const code = String(randomInt(1_000_000)).padStart(6, "0");
  await nodemailer.createTransport(smtp).sendMail({
    from: "Example <hello@app.example>",
    to: address,
    subject: "Your code",
    text: `Hello,\n\nyour code is ${code}. It is good for one sign-in.\n`,
  });
  return code;
}

module.exports = { sendCode };
