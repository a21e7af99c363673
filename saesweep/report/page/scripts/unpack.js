// The details of cells are packed, as gzip in base64, so that a page of thousands of cells opens at
// once; and so is Plotly, which takes a second to begin: the page is there before it.

const unpack = async (packed) => {
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
};

const loadPlotly = async () => {
  const script = make("script", {}, await unpack(byId("plotly").textContent));
  const began = performance.now();
  document.head.append(script);
  document.body.dataset.plotly = Math.round(performance.now() - began);
  return new Promise((begun) => { requestAnimationFrame(() => begun()); });
};
