// Runs before Gradio does. Gradio's server ends the stream of answers once all that it was asked for is answered. What
// is asked for while the news of that end is on its way is never heard of again: its answer waits for a stream, and
// Gradio's client, which takes the old one for open, asks for none. So the end is passed on only where nothing is
// waited for; else the next stream takes the place of the one that ended, and the client sees one.
(() => {
  const plain = window.fetch.bind(window);
  const waiting = new Set(), early = new Set(); // asked for and not answered; answered before it was known by its number

  const ask = async (asked) => {
    const unnumbered = {};
    waiting.add(unnumbered);
    try {
      const answer = await plain(...asked);
      const { event_id: number } = answer.ok ? await answer.clone().json().catch(() => ({})) : {};
      if (number && !early.delete(number)) waiting.add(number);
      return answer;
    } finally {
      waiting.delete(unnumbered);
    }
  };
  const answered = (number) => { if (!waiting.delete(number)) early.add(number); };

  const parsed = (message) => {
    try { return JSON.parse(message.replace(/^data: /, '')); } catch { return {}; } // a comment of a proxy
  };
  const reading = (answer) => answer.body.pipeThrough(new TextDecoderStream()).getReader();
  const listen = async (asked) => {
    const answer = await plain(...asked);
    if (!answer.ok) return answer;
    const encoder = new TextEncoder();
    let reader = reading(answer), left = false;
    const next = async () => {
      const more = await plain(...asked);
      if (more.ok && !left) reader = reading(more);
      return more.ok;
    };
    const relay = async (controller) => {
      for (let rest = ''; ;) {
        const { value, done } = await reader.read();
        if (done) break;
        const messages = (rest + value).split('\n\n'); // server-sent events
        rest = messages.pop();
        for (const message of messages) {
          const { msg, event_id: number } = parsed(message);
          if (msg === 'process_completed') answered(number);
          if (msg !== 'close_stream' || !waiting.size || !(await next())) controller.enqueue(encoder.encode(`${message}\n\n`));
        }
      }
      controller.close();
    };
    const start = (controller) => relay(controller).catch((error) => {
      waiting.clear(); // of a broken stream Gradio answers nothing more
      throw error;
    });
    const cancel = (reason) => {
      left = true;
      return reader.cancel(reason);
    };
    return new Response(new ReadableStream({ start, cancel }), answer);
  };

  window.fetch = (...asked) => {
    const url = String(asked[0]?.url ?? asked[0]).split('?')[0];
    if (url.endsWith('/queue/join')) return ask(asked);
    return url.endsWith('/queue/data') ? listen(asked) : plain(...asked);
  };
})();
