// Live refresh: when something changed, the page is fetched again and the parts marked data-live are exchanged.
// What a person opened, closed or is writing stays as it is.
(() => {
  const choices = new Map();

  /** A name for a <details> that is the same in the page and in its fresh copy. */
  function key(details) {
    if (details.id) return details.id;
    const block = details.closest('[data-live]');
    return block ? `${block.id}/${[...block.querySelectorAll('details:not([id])')].indexOf(details)}` : '';
  }

  document.addEventListener('click', (event) => {
    const details = event.target.closest('summary')?.parentElement;
    if (details) choices.set(key(details), !details.open);
  });

  let busy = false;
  let again = false;

  async function refresh() {
    if (busy) { again = true; return; }
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { accept: 'text/html' } });
      if (answer.ok) exchange(new DOMParser().parseFromString(await answer.text(), 'text/html'));
    } catch { /* the playground was stopped; the event stream tries again by itself */ }
    busy = false;
    if (again) { again = false; refresh(); }
  }

  function exchange(fresh) {
    for (const old of document.querySelectorAll('[data-live][id]')) {
      const now = fresh.getElementById(old.id);
      if (!now || now.innerHTML === old.dataset.seen) continue;
      old.dataset.seen = now.innerHTML;
      old.innerHTML = now.innerHTML;
      for (const details of old.querySelectorAll('details')) {
        if (choices.has(key(details))) details.open = choices.get(key(details));
      }
    }
  }

  new EventSource('/playground/live').onmessage = refresh;
  setInterval(refresh, 15000);
})();
