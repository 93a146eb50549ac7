// Decoding by llama.cpp, through node-llama-cpp's builds of it: 64 tokens behind a prompt of 16, greedily, on every core; the median of five.
//   node llama_bench.mjs FOLDER_OF_NODE_LLAMA_CPP FILE.gguf
import os from "node:os";
import path from "node:path";
import {pathToFileURL} from "node:url";

const DECODED = 64;
const [folder, file] = process.argv.slice(2);
const {getLlama} = await import(pathToFileURL(path.join(folder, "dist", "index.js")));
const threads = os.availableParallelism();
const llama = await getLlama({gpu: false, build: "never", logLevel: "error", maxThreads: threads});
const model = await llama.loadModel({modelPath: file});
const context = await model.createContext({contextSize: 512, threads});
const sequence = context.getSequence();
const prompt = Array.from({length: 16}, (_, i) => 1000 + 37 * i);
const rates = [];
for (let round = 0; round < 6; round++) {
  await sequence.clearHistory();
  let made = 0, began = 0;
  for await (const _ of sequence.evaluate(prompt, {temperature: 0, yieldEogToken: true})) {
    if (made === 0) began = performance.now();
    if (made++ === DECODED) break;
  }
  if (made !== DECODED + 1) throw new Error(`the model stopped after ${made} tokens`);
  if (round > 0) rates.push(1000 * DECODED / (performance.now() - began));
}
rates.sort((a, b) => a - b);
console.log(`decode     ${rates[2].toFixed(1).padStart(8)} tokens/s`);
process.exit(0);
