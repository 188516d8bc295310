// What happens in the inbox, as it happens. Knows the event stream; does not know what is done about an event.
//
// A browser opens six connections to a server at most, and a stream takes one for good: with a stream in each, the
// seventh tab would never load. So one tab listens, the one that holds a lock, and tells the others.

const KINDS = ["hello", "message", "changed", "deleted", "session", "inbox", "reset"];
const CHANNEL = "ehlo-events";
const TELL_PAUSE = 50; // ms

/**
 * Call `onEvent(kind, data)` for each event, and `onState("live" | "connecting" | "offline")` when that changes. After every
 * connection the first event is "hello": something may have been missed before it.
 */
export function listen(address, onEvent, onState) {
  const channel = "locks" in navigator && "BroadcastChannel" in window ? new BroadcastChannel(CHANNEL) : null;
  if (channel === null) {
    stream(address, onEvent, onState);
    return;
  }
  let leads = false;
  let hasFollowers = false;
  let state = "connecting";
  const told = []; // events for the other tabs: together, because each message costs more than an event
  channel.onmessage = ({ data }) => {
    if (data.asks && leads) {
      hasFollowers = true;
      channel.postMessage({ state });
    }
    if (data.isNew) channel.postMessage({ asks: true });
    if (data.state) onState(data.state);
    for (const [kind, event] of data.events ?? []) onEvent(kind, event);
  };
  channel.postMessage({ asks: true });
  navigator.locks.request(CHANNEL, () => {
    leads = true;
    channel.postMessage({ isNew: true });
    stream(
      address,
      (kind, data) => {
        onEvent(kind, data);
        if (!hasFollowers) return;
        if (told.length === 0) setTimeout(() => channel.postMessage({ events: told.splice(0) }), TELL_PAUSE);
        told.push([kind, data]);
      },
      (now) => {
        state = now;
        channel.postMessage({ state });
        onState(now);
      },
    );
    return new Promise(() => {}); // until this tab is closed
  });
}

function stream(address, onEvent, onState) {
  let delay = 500;
  let failures = 0;
  let greeted = false;
  const open = () => {
    const source = new EventSource(address);
    source.onopen = () => {
      delay = 500;
      failures = 0;
      greeted = false;
      onState("live");
      // A server that sends no "hello" is taken to have said it.
      setTimeout(() => {
        if (!greeted) onEvent("hello", {});
        greeted = true;
      }, 300);
    };
    for (const kind of KINDS) {
      source.addEventListener(kind, (event) => {
        if (kind === "hello") {
          if (greeted) return;
          greeted = true;
        }
        onEvent(kind, parse(event.data));
      });
    }
    source.onerror = () => {
      failures += 1;
      onState(failures > 1 ? "offline" : "connecting");
      // Of a lost connection the browser takes care; after an answer that is no stream it gives up, and we do not.
      if (source.readyState !== EventSource.CLOSED) return;
      setTimeout(open, delay);
      delay = Math.min(delay * 2, 15_000);
    };
  };
  open();
}

function parse(data) {
  try {
    return JSON.parse(data) ?? {};
  } catch {
    return {};
  }
}
