const calm = matchMedia('(prefers-reduced-motion: reduce)');

// Runs before Gradio. Stores choices in the browser: language, theme, and the background of pictures.
(() => {
  const safely = (storage) => ({ // a private window has no storage
    get: (key) => { try { return storage().getItem(key); } catch { return null; } },
    set: (key, value) => { try { storage().setItem(key, value); } catch { /* nothing */ } },
  });
  const store = safely(() => localStorage), session = safely(() => sessionStorage);
  const root = document.documentElement;

  // Gradio reads navigator.language; the server reads the cookie.
  const chosen = document.cookie.match(/(?:^|; )studio_language=(en|zh)/);
  const language = chosen ? chosen[1] : navigator.language.startsWith('zh') ? 'zh' : 'en';
  const locale = language === 'zh' ? 'zh-CN' : 'en';
  if (chosen) {
    Object.defineProperty(navigator, 'language', { get: () => locale });
    Object.defineProperty(navigator, 'languages', { get: () => [locale] });
  }
  // Gradio overwrites <html lang>, which screen readers use.
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
    // Gradio sets its own theme once, when it starts.
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
  const visibleMake = () => [...document.querySelectorAll('.make')].find((button) => button.offsetParent && !button.disabled);
  addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey) && !document.querySelector('dialog[open]')) {
      const form = event.target.closest('form[data-list]'), make = visibleMake();
      if (form || make) event.preventDefault();
      form ? form.requestSubmit() : make?.click();
    } else if (event.key === '?' && !event.target.matches('input, textarea, select, [contenteditable]')) {
      document.querySelector('[data-keys]').click();
    }
  });

  // Typed text is restored after a reload: for another language or model, or after a restart of the studio.
  const FORM = ['#prompt', '#negative', '#seed', '#video-prompt', '#video-negative'];
  const OTHERS = ['#batch-lines', '#compare-prompt']; // restored settings don't fill these
  const field = (name) => document.querySelector(`${name} textarea, ${name} input`);
  const type = (input, text) => {
    input.value = text;
    input.dispatchEvent(new Event('input', { bubbles: true }));
    input.focus();
    input.setSelectionRange(text.length, text.length);
  };
  const typed = JSON.parse(session.get('studio_typed')) || {};
  // Restored settings of a picture replace typed text, also where the input does not exist yet.
  const forget = () => { for (const name of FORM) delete typed[name]; };
  addEventListener('drop', forget, true);
  addEventListener('click', (event) => { if (event.target.closest?.('[data-do=settings]')) forget(); }, true);
  // Gradio builds the content of a fold when it is first opened; a click right after the fold appears is lost, so retry.
  const unfold = () => {
    if (!typed['#negative'] && !typed['#seed']) return;
    document.querySelector('#more .label-wrap:not(.open)')?.click();
    setTimeout(unfold, 500);
  };
  unfold();
  addEventListener('pagehide', () => {
    for (const name of [...FORM, ...OTHERS]) if (field(name)) typed[name] = field(name).value;
    session.set('studio_typed', JSON.stringify(typed));
  });
  const typing = new MutationObserver(() => { // a tab is built when it is first opened
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

  // Polls the studio, several times a second while a job is on show, and notifies followers.
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

  // Makes one element equal to another and touches only differences: focus, pictures and typed text stay.
  const morph = (old, made) => {
    if (old.nodeName !== made.nodeName) { old.replaceWith(made); return; }
    if (old.nodeType !== Node.ELEMENT_NODE) { if (old.data !== made.data) old.data = made.data; return; }
    for (const { name } of [...old.attributes]) if (!made.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of made.attributes)
      if (old.getAttribute(name) !== value && name !== 'tabindex') old.setAttribute(name, value); // gallery.js sets tabindex
    const fresh = [...made.childNodes];
    fresh.forEach((node, index) => { old.childNodes[index] ? morph(old.childNodes[index], node) : old.append(node); });
    while (old.childNodes.length > fresh.length) old.lastChild.remove();
  };

  // The same for the content of an element, from HTML.
  const exchange = (holder, html) => {
    if (holder.html === html) return;
    const made = holder.cloneNode(false);
    made.innerHTML = html;
    morph(holder, made);
    holder.html = html;
  };

  // The same for a list of (key, HTML). Children that don't move keep the focus.
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

  // Fetches from the studio. Throws refusals and network errors; `why` gives their sentence.
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

  // Saves a response as a file, under the name in its headers.
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

  // "What is this?": the caption replaces the button and takes its focus.
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

  // Downloads of exports, one after another: the nearest `fetching` element shows progress or an error.
  const statusNear = (node) => node && (node.querySelector('.fetching') || statusNear(node.parentElement));
  let turn = Promise.resolve();
  const download = async (link, address, name) => {
    const say = (words) => { // not where the card shows another picture by now
      if (link.isConnected && link.href === address) write(statusNear(link), words);
    };
    say(link.dataset.fetch);
    try {
      await save(await ask(address), name);
      say('');
    } catch (problem) { say(why(problem)); }
  };
  addEventListener('click', (event) => {
    const link = event.target.closest?.('a[data-fetch]');
    if (!link) return;
    event.preventDefault();
    const { href, download: name } = link;
    write(statusNear(link), link.dataset.fetch);
    turn = turn.then(() => download(link, href, name));
  });

  // Lists of wildcards: a button shows the form of a list; a list that a prompt lacked is saved, then used.
  addEventListener('click', async ({ target }) => {
    const button = target.closest?.('[data-edit-list]');
    if (!button) return;
    button.parentElement.parentElement.querySelector('form')?.remove();
    button.parentElement.after(fresh((await fetchJson(`/lists/${encodeURI(button.dataset.editList)}`)).html));
  });
  addEventListener('submit', async (event) => {
    const form = event.target.closest?.('form[data-list]');
    if (!form) return;
    event.preventDefault();
    try {
      const body = asJson({ text: form.querySelector('textarea').value });
      const { sentence } = await fetchJson(`/lists/${encodeURI(form.dataset.list)}`, body);
      write(statusNear(form), sentence);
      if (form.closest('.stage')) visibleMake()?.click();
    } catch (problem) { write(statusNear(form), why(problem)); }
  });

  // A button that copies something to the clipboard says for a moment whether it could: a page over plain HTTP from
  // another computer has no clipboard.
  const COPIED = 2000; // ms
  const copy = async (button, write) => {
    const words = button.textContent;
    button.textContent = await write().then(() => button.dataset.done, () => button.dataset.failed);
    setTimeout(() => { button.textContent = words; }, COPIED);
  };
  const textOf = (button) => button.closest('.caption').querySelector('textarea');
  addEventListener('click', ({ target }) => {
    const describes = target.closest?.('[data-describe]'), copies = target.closest?.('[data-copy-text]');
    if (describes) describe(describes);
    else if (copies) copy(copies, async () => navigator.clipboard.writeText(textOf(copies).value || textOf(copies).placeholder));
  });

  const scrollTo = (element) => {
    if (element.getBoundingClientRect().top > innerHeight * 0.6)
      element.scrollIntoView({ behavior: calm.matches ? 'auto' : 'smooth' });
  };

  // Replaced HTML resets the controls of its players: show their state again.
  const replay = (element) => { for (const player of element.querySelectorAll('clip-player')) player.show(); };

  // The bar at the foot of a tab: a confirmation with undo, or that the studio does not answer.
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

  // Calls `begin` once for each new part of an element's value, and `draw` whenever the part becomes visible.
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
    queueMicrotask(start); // after the rest of the script
  };

  // Shared by the scripts of HTML parts. The card handles `data-do`, the part itself `data-own`.
  window.studio = {
    follow: (one) => { followers.push(one); poll(); },
    ...{ morph, exchange, fill, ask, fetchJson, asJson, why, save, fresh, hide, write, scrollTo, outcome, copy, whenShown, showBackground, replay, type, session },
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

// Plays a clip from a sheet of its frames, row by row, with ceil(sqrt(n)) columns. So playback can stop at, step through
// and take exact frames.
(() => {
  customElements.define('clip-player', class extends HTMLElement {
    static observedAttributes = ['data-sheet'];

    constructor() {
      super();
      this.addEventListener('click', ({ target }) => this.press(target));
      this.addEventListener('input', ({ target }) => { if (target.type === 'range') this.stopAt(target.value - 1); });
      this.addEventListener('keydown', (event) => this.step(event));
    }
    connectedCallback() { this.open(); }
    disconnectedCallback() { clearTimeout(this.timer); }
    attributeChangedCallback() { if (this.isConnected) this.open(); }

    async open() {
      const sheet = new Image();
      this.change({ at: 0, sheet: null, plays: !calm.matches });
      sheet.src = this.dataset.sheet;
      try { await sheet.decode(); } catch { return; } // removed meanwhile
      if (sheet.getAttribute('src') === this.dataset.sheet) this.change({ sheet });
    }

    press(target) {
      if (target.closest('[data-play]')) this.change({ plays: !this.plays });
    }
    step(event) {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!by || event.target.matches('input, select')) return; // they have arrows of their own
      event.preventDefault();
      this.stopAt((this.at + by + this.frames) % this.frames);
    }
    stopAt(at) { this.change({ at, plays: false }); }

    get frames() { return Number(this.dataset.frames); }
    get next() { return (this.at + 1) % this.frames; }
    get wait() { return 1000 / this.dataset.fps / this.querySelector('select').value; }

    // Changes the state, shows it, and schedules the next frame.
    change(now) {
      Object.assign(this, now);
      clearTimeout(this.timer);
      this.show();
      if (this.sheet && this.plays) this.timer = setTimeout(() => this.change({ at: this.next }), this.wait);
    }
    show() {
      const play = this.querySelector('[data-play]'), words = this.plays ? play.dataset.pause : play.dataset.play;
      play.dataset.plays = this.plays;
      Object.assign(play, { title: words, ariaLabel: words });
      this.querySelector('input').value = this.at + 1;
      this.querySelector('output').textContent = `${this.at + 1} / ${this.frames}`;
      this.querySelector('[data-do=frame]').dataset.frame = this.at + 1;
      if (this.sheet) this.draw();
    }
    draw() {
      const canvas = this.querySelector('canvas'), columns = Math.ceil(Math.sqrt(this.frames));
      const width = this.sheet.naturalWidth / columns, height = this.sheet.naturalHeight / Math.ceil(this.frames / columns);
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      const paper = canvas.getContext('2d'), x = (this.at % columns) * width, y = Math.floor(this.at / columns) * height;
      paper.clearRect(0, 0, width, height);
      paper.drawImage(this.sheet, x, y, width, height, 0, 0, width, height);
    }
  });
})();

// Works around a race in Gradio. Its server closes the event stream once all events are answered. An event that is sent
// while that close is on its way gets no answer: the answer waits for a stream, but the client believes that the old one
// is open. So the client never hears of the close: the stream continues when another event is sent.
(() => {
  const plain = window.fetch.bind(window);
  let pending = 0, wake = () => {}; // events without an answer; called when one is sent

  const messages = async function* (first, again) {
    for (let answer = first; answer.ok; answer = await again()) {
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let rest = '', part; !(part = await reader.read()).done;) {
        const complete = (rest + part.value).split('\n\n'); // server-sent events
        rest = complete.pop();
        for (const message of complete) {
          if (message.includes('"msg":"process_completed"')) pending -= 1;
          if (!message.includes('"msg":"close_stream"')) yield `${message}\n\n`;
        }
      }
      if (pending <= 0) await new Promise((resolve) => { wake = resolve; });
    }
  };
  const listen = async (request) => {
    const first = await plain(...request), encoder = new TextEncoder();
    if (!first.ok) return first;
    const relayed = messages(first, () => plain(...request));
    const pull = async (controller) => {
      try {
        const { value, done } = await relayed.next();
        if (done) controller.close();
        else controller.enqueue(encoder.encode(value));
      } catch (error) {
        pending = 0; // Gradio answers nothing more after a broken stream
        controller.error(error);
      }
    };
    return new Response(new ReadableStream({ pull }), first);
  };
  const join = async (request) => {
    const answer = await plain(...request);
    if (answer.ok) { pending += 1; wake(); }
    return answer;
  };

  window.fetch = (...request) => {
    const url = String(request[0]?.url ?? request[0]).split('?')[0];
    if (url.endsWith('/queue/join')) return join(request);
    return url.endsWith('/queue/data') ? listen(request) : plain(...request);
  };
})();
