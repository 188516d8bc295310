// What happens in the inbox, as it happens. Knows the event stream; does not know what is done about an event.
//
// A browser opens six connections to a server at most, and a stream takes one for good: with a stream in each, the
// seventh tab would never load. So one tab listens, the one that holds a lock, and tells the others.

const KINDS = ["hello", "reset", "together"];
const CHANNEL = "ehlo-events";

/**
 * Call `onEvent(kind, data)` for each event, and `onState("live" | "connecting" | "offline")` when that changes. After every
 * connection the first event is "hello": something may have been missed before it. Its `epoch` names the run of the server,
 * where that is known. `address` is that of a stream which tells
 * together what happens in a moment.
 */
export function listen(address, onEvent, onState) {
  const tell = (events) => {
    for (const [kind, data] of events) onEvent(kind, data);
  };
  const channel = "locks" in navigator && "BroadcastChannel" in window ? new BroadcastChannel(CHANNEL) : null;
  if (channel === null) {
    stream(address, tell, onState);
    return;
  }
  let leads = false;
  let hasFollowers = false;
  let state = "connecting";
  channel.onmessage = ({ data }) => {
    if (data.asks && leads) {
      hasFollowers = true;
      // What was told since that tab looked, and before it asked, it has not heard.
      channel.postMessage({ state, events: [["hello", {}]] });
    }
    if (data.isNew) channel.postMessage({ asks: true });
    if (data.state) onState(data.state);
    if (data.events) tell(data.events);
  };
  channel.postMessage({ asks: true });
  navigator.locks.request(CHANNEL, () => {
    leads = true;
    channel.postMessage({ isNew: true });
    stream(
      address,
      (events) => {
        tell(events);
        if (hasFollowers) channel.postMessage({ events });
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

/** `onEvents` is called with pairs of a kind and its data. */
function stream(address, onEvents, onState) {
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
        if (!greeted) onEvents([["hello", {}]]);
        greeted = true;
      }, 300);
    };
    for (const kind of KINDS) {
      source.addEventListener(kind, (event) => {
        if (kind === "hello") {
          if (greeted) return;
          greeted = true;
        }
        const data = parse(event.data);
        if (kind === "hello") data.epoch = event.lastEventId.split(".")[0];
        onEvents(kind === "together" ? data : [[kind, data]]);
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
    return JSON.parse(data) ?? [];
  } catch {
    return [];
  }
}
