package org.lethe.benchmarks;

import org.lethe.model.LlamaConfig;

/**
 * The shapes that operations are measured at: of models, and odd ones that no vector width divides.
 */
public enum Sizes {
  /** SmolLM2-135M, 4 blocks of 512 tokens. */
  SMOLLM2(4, 512, 576, 1536, 9, 3, 64, 49152, 30, true),
  /** Llama2-7b, a block of 512 tokens. */
  LLAMA2(1, 512, 4096, 11008, 32, 32, 128, 32000, 32, false),
  /** Nothing is a multiple of a vector. */
  ODD(3, 131, 333, 777, 5, 1, 38, 5003, 3, false);

  final int blocks; // B
  final int length; // T
  final int width; // d
  final int feedForward; // F
  final int heads; // Hq
  final int kvHeads; // Hkv
  final int headSize; // D
  final int vocabulary; // V
  final int layers;
  final boolean tied;

  Sizes(
      int blocks,
      int length,
      int width,
      int feedForward,
      int heads,
      int kvHeads,
      int headSize,
      int vocabulary,
      int layers,
      boolean tied) {
    this.blocks = blocks;
    this.length = length;
    this.width = width;
    this.feedForward = feedForward;
    this.heads = heads;
    this.kvHeads = kvHeads;
    this.headSize = headSize;
    this.vocabulary = vocabulary;
    this.layers = layers;
    this.tied = tied;
  }

  /** N = B T. */
  int tokens() {
    return blocks * length;
  }

  /** Hq D. */
  int queryWidth() {
    return heads * headSize;
  }

  /** Hkv D. */
  int kvWidth() {
    return kvHeads * headSize;
  }

  /** The model of these sizes. */
  LlamaConfig config() {
    return new LlamaConfig(
        vocabulary,
        width,
        feedForward,
        layers,
        heads,
        kvHeads,
        headSize,
        8192,
        1e-5,
        100_000,
        null,
        tied,
        1,
        2);
  }
}
