// Enlarges pictures twofold by npm's @upscalerjs/esrgan-slim, for benchmarks.studies.upscalers.
//
//   node esrgan_slim.cjs NODE_MODULES SMALL.bin LARGE.bin
//
// Both files hold pictures one after the other: height and width as 32-bit little-endian integers, then
// RGB bytes. The network runs in TensorFlow.js compiled to WebAssembly, on one thread; its CPU
// milliseconds are printed, a number a picture.
"use strict";

const fs = require("fs");
const path = require("path");

const [modules, smallFile, largeFile] = process.argv.slice(2);
const load = (name) => require(path.join(path.resolve(modules), name));
const tf = load("@tensorflow/tfjs");
const wasm = load("@tensorflow/tfjs-backend-wasm");

async function network() {
  const folder = path.join(path.resolve(modules), "@upscalerjs/esrgan-slim/models/x2");
  const description = JSON.parse(fs.readFileSync(path.join(folder, "model.json"), "utf8"));
  const [manifest] = description.weightsManifest;
  const parts = manifest.paths.map((name) => fs.readFileSync(path.join(folder, name)));
  const data = new Uint8Array(Buffer.concat(parts)).buffer;
  class PixelShuffle extends tf.layers.Layer {
    computeOutputShape(shape) {
      return [shape[0], shape[1], shape[2], 3];
    }
    call(inputs) {
      return tf.depthToSpace(Array.isArray(inputs) ? inputs[0] : inputs, 2, "NHWC");
    }
    static get className() {
      return "PixelShuffle2x";
    }
  }
  tf.serialization.registerClass(PixelShuffle);
  return tf.loadLayersModel({
    load: async () => ({
      modelTopology: description.modelTopology,
      weightSpecs: manifest.weights,
      weightData: data,
    }),
  });
}

async function main() {
  wasm.setWasmPaths(path.join(path.resolve(modules), "@tensorflow/tfjs-backend-wasm/dist") + "/");
  wasm.setThreadsCount(1);
  await tf.setBackend("wasm");
  const model = await network();
  const small = fs.readFileSync(smallFile);
  const output = fs.openSync(largeFile, "w");
  for (let start = 0; start < small.length; ) {
    const [height, width] = [small.readInt32LE(start), small.readInt32LE(start + 4)];
    const end = start + 8 + 3 * height * width;
    const picture = tf.tensor4d(Float32Array.from(small.subarray(start + 8, end)), [1, height, width, 3]);
    start = end;
    const before = process.cpuUsage();
    const values = await tf.tidy(() => model.predict(picture).round().clipByValue(0, 255)).data();
    const used = process.cpuUsage(before);
    console.log((used.user + used.system) / 1000);
    const header = Buffer.alloc(8);
    header.writeInt32LE(2 * height, 0);
    header.writeInt32LE(2 * width, 4);
    fs.writeSync(output, header);
    fs.writeSync(output, Uint8Array.from(values));
    picture.dispose();
  }
}

main();
