package org.lethe.model;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.lethe.kernels.DType;
import org.lethe.kernels.Kernels;
import org.lethe.kernels.Tensor;

/** A Llama and the gradients of its passes, from zero on, for tests to look at. */
public final class Gradients implements AutoCloseable {
  private final Llama llama;
  private final Tensor flat;
  private final LlamaParameters parameters;
  private final Kernels kernels;

  Gradients(LlamaWeights weights, DType dtype) {
    llama = new Llama(weights);
    flat =
        weights.device().allocate("gradients", dtype, LlamaParameters.elements(weights.config()));
    parameters = new LlamaParameters(weights.config(), flat);
    kernels = weights.device().kernels();
    kernels.fill(flat, 0);
  }

  /** One pass; the loss is the mean over the labelled positions. */
  double train(Golden golden) {
    int[] targets = golden.targets();
    int labelled = Golden.labelled(targets);
    return llama.train(golden.tokens(), targets, golden.blocks(), 1f / labelled, parameters, true)
        / labelled;
  }

  /** One pass; returns the sum of losses. */
  double train(int[] tokens, int[] targets, int blocks, float scale) {
    return llama.train(tokens, targets, blocks, scale, parameters, true);
  }

  /** One pass that writes its gradients over what is there, here {@code before} everywhere. */
  double trainOver(float before, int[] tokens, int[] targets, int blocks, float scale) {
    kernels.fill(flat, before);
    return llama.train(tokens, targets, blocks, scale, parameters, false);
  }

  /** The gradient of a parameter. */
  float[] of(String parameter) {
    return parameters.tensor(parameter).toFloats();
  }

  /** All gradients, one after another. */
  float[] all() {
    return flat.toFloats();
  }

  /** A parameter of {@code weights}, exact. */
  public static float[] read(LlamaWeights weights, String parameter) {
    int n = Math.toIntExact(weights.parameters().find(parameter).elements());
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment f32 = arena.allocate(ValueLayout.JAVA_FLOAT, n);
      weights.read(parameter, 0, f32);
      return f32.toArray(ValueLayout.JAVA_FLOAT);
    }
  }

  @Override
  public void close() {
    flat.close();
    llama.close();
  }
}
