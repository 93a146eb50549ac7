package org.lethe.gpu;

import java.util.List;
import org.lethe.conformance.Conformance;
import org.lethe.model.LlamaConfig;

/**
 * What is measured, and how large.
 *
 * @param config Llama2-7b, or one that an emulator gets through
 * @param tokens of a pass; halved where memory lacks
 * @param block tokens of a training block
 * @param side of the square product that stands for the ceiling of arithmetic
 * @param copied bytes whose copy stands for the ceiling of memory; larger than any cache
 * @param samples of each time; the median counts
 * @param decoded tokens, after as many of a prompt
 * @param suite operations of the kernel suite
 */
record Sizes(
    LlamaConfig config,
    int tokens,
    int block,
    int side,
    long copied,
    int samples,
    int decoded,
    List<String> suite) {

  static Sizes of(boolean small) {
    return small
        ? new Sizes(
            new LlamaConfig(320, 128, 192, 2, 2, 2, 64, 256, 1e-5, 1e4, null, false, 1, 2),
            128,
            64,
            128,
            1 << 20,
            1,
            4,
            List.of("convert", "rmsnorm", "swiglu"))
        : new Sizes(
            new LlamaConfig(
                32000, 4096, 11008, 32, 32, 32, 128, 4096, 1e-5, 1e4, null, false, 1, 2),
            4096,
            512,
            8192,
            1L << 30,
            10,
            256,
            List.copyOf(Conformance.operations(null)));
  }

  /** The same model with so many layers. */
  LlamaConfig layers(int layers) {
    LlamaConfig c = config;
    return new LlamaConfig(
        c.vocabulary(),
        c.width(),
        c.feedForward(),
        layers,
        c.heads(),
        c.kvHeads(),
        c.headSize(),
        c.positions(),
        c.normEps(),
        c.ropeTheta(),
        c.ropeScaling(),
        c.tiedHead(),
        c.bosToken(),
        c.eosTokens());
  }

  /** With half the tokens, for a device that has no room for these. */
  Sizes halved() {
    return new Sizes(
        config, tokens / 2, Math.min(block, tokens / 2), side, copied, samples, decoded, suite);
  }
}
