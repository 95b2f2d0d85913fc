/** The network in onnxruntime-web. */

/** @typedef {import("./chain.js").Network} Network */

/**
 * @param {any} ort the module of onnxruntime-web
 * @param {Uint8Array} wasm its WebAssembly
 * @param {Uint8Array} graph
 * @param {{path: string, data: Uint8Array}[]} externalData files that the graph points to
 * @returns {Promise<Network>}
 */
export async function openNetwork(ort, wasm, graph, externalData) {
  ort.env.wasm.wasmBinary = wasm;
  // More threads need headers that plain hosts do not send; one takes a fraction of a second.
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  const session = await ort.InferenceSession.create(graph, {
    executionProviders: ["wasm"], externalData, enableCpuMemArena: false, enableMemPattern: false,
  });
  return async (lightness, height, width, features) => {
    const input = new ort.Tensor("float32", lightness, [1, 1, height, width]);
    const names = features ? ["raw", "features"] : ["raw"];
    const output = await session.run({ lightness: input }, names);
    const found = { raw: output.raw.data, features: features ? output.features.data : null };
    input.dispose();
    return found;
  };
}
