// Runs before Gradio does. What a person chose on this page is kept in the browser: language, light or dark, and the
// background of pictures.
(() => {
  const kept = (storage) => ({ // in a private window: nothing
    get: (key) => { try { return storage().getItem(key); } catch { return null; } },
    set: (key, value) => { try { storage().setItem(key, value); } catch { /* nothing */ } },
  });
  const store = kept(() => localStorage), session = kept(() => sessionStorage);
  const root = document.documentElement;

  // Gradio asks the navigator for the language; the server reads the cookie.
  const chosen = document.cookie.match(/(?:^|; )studio_language=(en|zh)/);
  const language = chosen ? chosen[1] : navigator.language.startsWith('zh') ? 'zh' : 'en';
  const locale = language === 'zh' ? 'zh-CN' : 'en';
  if (chosen) {
    Object.defineProperty(navigator, 'language', { get: () => locale });
    Object.defineProperty(navigator, 'languages', { get: () => [locale] });
  }
  // Gradio writes its own choice into <html lang>; screen readers need ours.
  root.lang = locale;
  new MutationObserver(() => { if (root.lang !== locale) root.lang = locale; })
    .observe(root, { attributes: true, attributeFilter: ['lang'] });

  // A background is "checks", "white", "black" or a colour such as "#7dd3fc".
  const setBackground = (name) => {
    const colour = name.startsWith('#') ? name : '';
    root.dataset.background = colour ? 'colour' : name;
    if (colour) root.style.setProperty('--background', colour);
    for (const button of document.querySelectorAll('button[data-background]'))
      button.setAttribute('aria-pressed', String(button.dataset.background === root.dataset.background));
    for (const input of colour ? document.querySelectorAll('input[data-background]') : []) input.value = colour;
  };
  const chooseBackground = (name) => { setBackground(name); store.set('studio_board', name); };
  const showBackground = () => setBackground(store.get('studio_board') || 'checks');
  showBackground();

  const dark = () => document.body.classList.contains('dark');
  addEventListener('DOMContentLoaded', () => {
    if (!store.get('studio_theme')) return;
    const apply = () => {
      const wanted = store.get('studio_theme') === 'dark';
      if (dark() !== wanted) document.body.classList.toggle('dark', wanted);
    };
    apply();
    // Gradio sets its own once, when it starts.
    const watcher = new MutationObserver(apply);
    watcher.observe(document.body, { attributes: true, attributeFilter: ['class'] });
    setTimeout(() => watcher.disconnect(), 8000);
  });

  addEventListener('click', (event) => {
    const at = (selector) => event.target.closest?.(selector);
    const language = at('[data-language]'), theme = at('[data-theme]'), background = at('button[data-background]');
    if (language) {
      document.cookie = `studio_language=${language.dataset.language}; path=/; max-age=31536000; SameSite=Strict`;
      location.reload();
    } else if (theme) {
      store.set('studio_theme', dark() ? 'light' : 'dark');
      document.body.classList.toggle('dark');
    } else if (background) chooseBackground(background.dataset.background);
    const unfold = at('[data-unfold]'), text = at('[data-fill]'), keys = document.querySelector('dialog.keys');
    if (unfold) {
      const head = document.querySelector(`${unfold.dataset.unfold} .label-wrap`);
      if (!head.classList.contains('open')) head.click();
      head.scrollIntoView({ block: 'center' });
      head.focus();
    } else if (text) type(field(`#${text.dataset.fill}`), text.dataset.text);
    else if (at('[data-keys]')) keys.showModal();
    else if (at('dialog.keys [data-close]') || event.target === keys) keys.close();
  });
  for (const name of ['click', 'input'])
    addEventListener(name, ({ target }) => {
      if (target.matches?.('input[data-background]')) chooseBackground(target.value);
    });
  addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey) && !document.querySelector('dialog[open]')) {
      const make = [...document.querySelectorAll('.make')].find((button) => button.offsetParent && !button.disabled);
      if (make) { event.preventDefault(); make.click(); }
    } else if (event.key === '?' && !event.target.matches('input, textarea, select, [contenteditable]')) {
      document.querySelector('[data-keys]').click();
    }
  });

  // What is typed outlives the page: it is loaded anew for another language or model, or when the studio was started again.
  const TYPED = ['#prompt', '#negative', '#seed', '#video-prompt', '#video-negative'];
  const OTHERS = ['#batch-lines', '#compare-prompt']; // which no picture's settings fill in
  const field = (name) => document.querySelector(`${name} textarea, ${name} input`);
  const type = (input, text) => {
    input.value = text;
    input.dispatchEvent(new Event('input', { bubbles: true }));
    input.focus();
    input.setSelectionRange(text.length, text.length);
  };
  const typed = JSON.parse(session.get('studio_typed')) || {};
  // The settings of a picture take the place of what was typed, also of what is in no input yet.
  const forget = () => { for (const name of TYPED) delete typed[name]; };
  addEventListener('drop', forget, true);
  addEventListener('click', (event) => { if (event.target.closest?.('[data-do=settings]')) forget(); }, true);
  // Gradio makes what a fold holds when it is opened first; in the moment in which the fold comes it hears no click.
  const unfold = () => {
    if (!typed['#negative'] && !typed['#seed']) return;
    document.querySelector('#more .label-wrap:not(.open)')?.click();
    setTimeout(unfold, 500);
  };
  unfold();
  addEventListener('pagehide', () => {
    for (const name of [...TYPED, ...OTHERS]) if (field(name)) typed[name] = field(name).value;
    session.set('studio_typed', JSON.stringify(typed));
  });
  const typing = new MutationObserver(() => { // a tab is made when it is opened first
    for (const [name, text] of Object.entries(typed)) {
      const box = field(name);
      if (!box) continue;
      delete typed[name];
      if (box.value || !text) continue;
      box.value = text;
      box.dispatchEvent(new Event('input', { bubbles: true }));
    }
    if (!Object.keys(typed).length) typing.disconnect();
  });
  typing.observe(root, { childList: true, subtree: true });

  // News from the studio: polled several times a second while a job is on show, else now and then. Followers hear of it.
  const QUICK = 150, SLOW = 1500, ASLEEP = 5000; // ms
  const followers = [];
  let news = {}, timer = 0, polling = false;
  const poll = async () => {
    if (polling) return;
    polling = true;
    const jobs = new Set(followers.map((one) => one.job?.()).filter(Boolean));
    try {
      const fresh = await fetchJson(`/news?${[...jobs].map((job) => `job=${job}`).join('&')}`);
      for (const one of followers) {
        one.silent?.(false);
        one.news?.(fresh);
        const stage = fresh.stages[one.job?.()];
        if (stage) one.stage(stage);
        if (fresh.current && one.idle?.() && fresh.current !== one.seen) one.adopt(fresh.current);
        one.seen = fresh.current;
        for (const topic of ['gallery', 'queue'])
          if (one[topic] && news[topic] !== undefined && news[topic] !== fresh[topic]) one[topic]();
      }
      news = fresh;
    } catch {
      for (const one of followers) one.silent?.(true);
    }
    polling = false;
    clearTimeout(timer);
    const busy = followers.some((one) => one.busy?.());
    timer = setTimeout(poll, document.hidden ? ASLEEP : busy ? QUICK : SLOW);
  };
  addEventListener('visibilitychange', () => { if (!document.hidden) poll(); });

  // Makes one element like another and touches only what differs: focus, pictures and what is typed stay.
  const morph = (old, made) => {
    if (old.nodeName !== made.nodeName) { old.replaceWith(made); return; }
    if (old.nodeType !== Node.ELEMENT_NODE) { if (old.data !== made.data) old.data = made.data; return; }
    for (const { name } of [...old.attributes]) if (!made.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of made.attributes)
      if (old.getAttribute(name) !== value && name !== 'tabindex') old.setAttribute(name, value); // its script moves that
    const fresh = [...made.childNodes];
    fresh.forEach((node, index) => { old.childNodes[index] ? morph(old.childNodes[index], node) : old.append(node); });
    while (old.childNodes.length > fresh.length) old.lastChild.remove();
  };

  // The same for what is in an element, from HTML.
  const exchange = (holder, html) => {
    if (holder.html === html) return;
    const made = holder.cloneNode(false);
    made.innerHTML = html;
    morph(holder, made);
    holder.html = html;
  };

  // The same for a list whose children are known by a key: (key, HTML) of each. What does not move keeps the focus.
  const fill = (list, rows) => {
    const wanted = new Set(rows.map(([key]) => key)), old = new Map();
    for (const row of [...list.children]) wanted.has(row.key) ? old.set(row.key, row) : row.remove();
    let at = list.firstElementChild;
    for (const [key, html] of rows) {
      const row = old.get(key) || fresh(html);
      if (row.html !== html && old.has(key)) morph(row, fresh(html));
      Object.assign(row, { key, html });
      if (row === at) at = at.nextElementSibling;
      else list.insertBefore(row, at);
    }
  };

  // What the studio answers. Where it refuses, or nobody answers, that is thrown, and `why` says it in a sentence.
  const ask = async (address, settings) => {
    const answer = await fetch(address, settings);
    if (answer.ok) return answer;
    const { problem } = await answer.json();
    throw Object.assign(new Error(answer.statusText), { sentence: problem });
  };
  const fetchJson = async (address, settings) => (await ask(address, { cache: 'no-store', ...settings })).json();
  const asJson = (body) =>
    ({ method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
  const silence = () => document.querySelector('[data-silent]').dataset.silent;
  const why = ({ sentence }) => (typeof sentence === 'string' ? sentence : silence());

  // Saves what was answered as a file, under the name that the answer gives it.
  const save = async (answer, name) => {
    const given = (answer.headers.get('content-disposition') || '').split("''")[1] || '';
    const link = document.createElement('a');
    Object.assign(link, { href: URL.createObjectURL(await answer.blob()), download: decodeURIComponent(given) || name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  };

  const fresh = (html) => document.createRange().createContextualFragment(html).firstElementChild;
  const hide = (node, hidden) => { if (node.hidden !== hidden) node.hidden = hidden; };
  const write = (node, text) => { if (node.textContent !== text) node.textContent = text; };

  // What is this? The answer takes the place of the button, and the focus goes along.
  const describe = async (button) => {
    const part = button.closest('.answer'), status = part.querySelector('.fetching');
    if (status.textContent === button.dataset.busy) return;
    write(status, button.dataset.busy);
    try {
      const { html } = await fetchJson(`/captions/${part.dataset.picture}${button.dataset.describe}`, { method: 'POST' });
      const held = part.contains(document.activeElement);
      morph(part, fresh(html));
      if (held) part.focus();
    } catch (problem) { write(status, why(problem)); }
  };
  addEventListener('click', (event) => {
    const button = event.target.closest?.('[data-describe]');
    if (button) describe(button);
  });

  const calm = matchMedia('(prefers-reduced-motion: reduce)');
  const scrollTo = (element) => {
    if (element.getBoundingClientRect().top > innerHeight * 0.6)
      element.scrollIntoView({ behavior: calm.matches ? 'auto' : 'smooth' });
  };

  // Where HTML was exchanged, its players are as they came from the studio: they show again what is so.
  const replay = (element) => { for (const player of element.querySelectorAll('clip-player')) player.show(); };

  // The bar at the foot of a tab that says what was done, with its undo; and that nobody answers.
  const outcome = (element, shown) => {
    const bar = () => element.querySelector('.outcome');
    const say = (sentence, kind = '', undoable = false) => {
      write(bar().querySelector('span'), sentence);
      bar().className = `outcome ${kind}`;
      hide(bar(), !sentence);
      hide(bar().querySelector('[data-act=undo]'), !undoable);
    };
    const silent = (silent) => {
      if (!shown()) return;
      if (silent && bar().hidden) say(silence(), 'problem silent');
      else if (!silent && bar().classList.contains('silent')) say('');
    };
    return { say, silent };
  };

  // Calls `draw` whenever a part that comes with its element's value is shown, after `begin` for a new one.
  const whenShown = (watch, part, draw, begin) => {
    const start = () => {
      const root = part();
      if (!root || root.begun) return;
      root.begun = true;
      begin?.();
      new IntersectionObserver(draw).observe(root);
      draw();
    };
    watch('value', start);
    queueMicrotask(start); // when the scripts below have been read
  };

  // What HTML parts of the page share: `data-do` is for the whole page, `data-own` for the part that it stands in.
  window.studio = {
    follow: (one) => { followers.push(one); poll(); },
    ...{ morph, exchange, fill, ask, fetchJson, asJson, why, save, fresh, hide, write, scrollTo, outcome, whenShown, showBackground, replay, type, session },
    pollNow: () => { clearTimeout(timer); poll(); },
    listen: (element, trigger) => {
      const pressed = (event) => {
        const button = event.target.closest('[data-do], [data-own]');
        if (!button || !element.contains(button) || (event.type === 'change') !== button.matches('input, select, textarea')) return;
        const data = { ...button.dataset };
        if (event.type === 'change') data.value = button.type === 'checkbox' ? button.checked : button.value;
        trigger(button.dataset.do ? 'click' : 'select', data);
      };
      element.addEventListener('click', pressed);
      element.addEventListener('change', pressed);
    },
  };
})();
