// Makes pages live. Everything it shows comes finished from Titan: it swaps parts of the page for newer ones, and adds
// to the build log what the stream of events brings. Without it pages are whole, they only stand still.
(() => {
  "use strict";

  const SETTLE_MS = 250;
  const COME_BACK_MS = 5000;
  const KINDS = ["accepted", "started", "step_started", "step_progress", "step_ended", "undo_started", "concluded"];

  let timer;
  let asked = false;
  let busy = false;

  // Which <details> a person has opened or closed must survive a swap.
  const folds = (part) => [...part.querySelectorAll("details")];

  const swap = async () => {
    if (busy) {
      asked = true;
      return;
    }
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of document.querySelectorAll("[data-swap]")) {
        const newer = fresh.getElementById(part.id);
        if (!newer || newer.innerHTML === part.innerHTML) continue;
        const open = folds(part).map((fold) => fold.open);
        part.replaceChildren(...[...newer.childNodes].map((node) => document.importNode(node, true)));
        const now = folds(part);
        if (now.length === open.length) now.forEach((fold, at) => { fold.open = open[at]; });
      }
      document.title = fresh.title;
      if (fresh.body.dataset.refresh) document.body.dataset.refresh = fresh.body.dataset.refresh;
      else delete document.body.dataset.refresh;
    } catch {
      // Titan is away for the moment; the next look comes by itself.
    } finally {
      busy = false;
      if (asked) {
        asked = false;
        soon();
      }
    }
  };

  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(swap, SETTLE_MS);
  };

  const tick = () => {
    const seconds = Number(document.body.dataset.refresh);
    if (!seconds) return;
    setTimeout(async () => {
      if (!document.hidden) await swap();
      tick();
    }, seconds * 1000);
  };

  const follow = (address) => {
    const log = document.getElementById("log");
    const word = document.getElementById("log-live");
    const say = (text) => {
      if (word && word.textContent !== text) word.textContent = text;
    };
    let after = new URL(address, location.href);
    const connect = () => {
      const stream = new EventSource(after);
      const seen = (event) => {
        if (event.lastEventId) after.searchParams.set("after", event.lastEventId);
      };
      stream.addEventListener("open", () => say("live"));
      stream.addEventListener("log", (event) => {
        seen(event);
        if (!log) return;
        const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 40;
        log.insertAdjacentHTML("beforeend", JSON.parse(event.data).html);
        if (atEnd) log.scrollTop = log.scrollHeight;
      });
      for (const kind of KINDS) {
        stream.addEventListener(kind, (event) => {
          seen(event);
          soon();
        });
      }
      stream.addEventListener("end", () => {
        stream.close();
        say("");
        soon();
      });
      stream.addEventListener("error", () => {
        say("connecting again");
        // The browser comes back by itself unless Titan answered with an error.
        if (stream.readyState === EventSource.CLOSED) setTimeout(connect, COME_BACK_MS);
      });
    };
    if (log) log.scrollTop = log.scrollHeight;
    connect();
  };

  const live = document.querySelector("[data-events]");
  if (live) follow(live.dataset.events);
  tick();
})();
