// Runs before Gradio does. Gradio's server ends the stream of answers once all that it was asked for is answered. What
// is asked for while the news of that end is on its way is never heard of again: its answer waits for a stream, and
// Gradio's client, which takes the old one for open, asks for none. So the end is passed on only where nothing is
// waited for; else the next stream takes the place of the one that ended, and the client sees one.
(() => {
  const plain = window.fetch.bind(window);
  let waiting = 0; // asked for and not answered

  const ask = async (asked) => {
    waiting += 1;
    try {
      const answer = await plain(...asked);
      if (!answer.ok) waiting -= 1;
      return answer;
    } catch (error) {
      waiting -= 1;
      throw error;
    }
  };

  const reading = (answer) => answer.body.pipeThrough(new TextDecoderStream()).getReader();
  const listen = async (asked) => {
    const answer = await plain(...asked);
    if (!answer.ok) return answer;
    const encoder = new TextEncoder();
    let reader = reading(answer);
    const relay = async (controller) => {
      for (let rest = ''; ;) {
        const { value, done } = await reader.read();
        if (done) break;
        const messages = (rest + value).split('\n\n'); // server-sent events
        rest = messages.pop();
        for (const message of messages) {
          const { msg } = JSON.parse(message.replace(/^data: /, ''));
          if (msg === 'process_completed') waiting -= 1;
          if (msg === 'close_stream' && waiting > 0) reader = reading(await plain(...asked));
          else controller.enqueue(encoder.encode(`${message}\n\n`));
        }
      }
      controller.close();
    };
    return new Response(new ReadableStream({ start: relay, cancel: (reason) => reader.cancel(reason) }), answer);
  };

  window.fetch = (...asked) => {
    const { pathname } = new URL(asked[0].url ?? asked[0], location.href);
    if (pathname.endsWith('/queue/join')) return ask(asked);
    return pathname.endsWith('/queue/data') ? listen(asked) : plain(...asked);
  };
})();
