package org.lethe.gpu;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.ToLongFunction;
import org.lethe.kernels.DType;
import org.lethe.kernels.Kernels;
import org.lethe.kernels.MemoryPlan;
import org.lethe.kernels.Tensor;
import org.lethe.model.KeyValueCache;
import org.lethe.model.Llama;
import org.lethe.model.LlamaConfig;
import org.lethe.model.LlamaParameters;
import org.lethe.model.LlamaWeights;
import org.lethe.model.LlamaWork;
import org.lethe.model.Operation;
import org.lethe.train.Trainer;
import org.lethe.train.TrainingOptions;

/** A layer, training steps and decoding, as the library does them, on random weights. */
final class Passes {
  private Passes() {}

  /** What a second layer adds to a pass: the embedding and the head drop out. */
  static Map<String, Object> layer(Bench bench) {
    double[] one = passes(bench, 1);
    double[] two = passes(bench, 2);
    int n = bench.sizes.tokens();
    double flops = work(bench, 2) - work(bench, 1);
    return Map.of(
        "tokens",
        n,
        "forward_seconds",
        two[0] - one[0],
        "forward_backward_seconds",
        two[1] - one[1],
        "forward_backward_flops",
        flops);
  }

  private static double work(Bench bench, int layers) {
    return LlamaWork.flops(
        LlamaWork.training(
            bench.sizes.layers(layers),
            DType.BF16,
            DType.F32,
            1,
            1,
            bench.sizes.tokens(),
            Llama.Memory.DEFAULT));
  }

  /** Seconds of a forward, and of a forward and backward, over one block of all tokens. */
  private static double[] passes(Bench bench, int layers) {
    LlamaConfig config = bench.sizes.layers(layers);
    int[] tokens = bench.tokens(bench.sizes.tokens());
    int[] targets = next(tokens, tokens.length);
    try (LlamaWeights weights = bench.weights(config, false);
        var llama = new Llama(weights);
        Tensor flat =
            bench.device.allocate("gradients", DType.F32, LlamaParameters.elements(config))) {
      bench.device.kernels().fill(flat, 0);
      var gradients = new LlamaParameters(config, flat);
      double forward =
          bench.seconds(() -> Bench.finite("the loss", llama.loss(tokens, targets, 1)));
      double both =
          bench.seconds(
              () ->
                  Bench.finite(
                      "the loss", llama.train(tokens, targets, 1, 1e-4f, gradients, false)));
      return new double[] {forward, both};
    }
  }

  /** Each position's next token; the last of a block has none. */
  private static int[] next(int[] tokens, int length) {
    int[] targets = new int[tokens.length];
    Arrays.setAll(targets, i -> (i + 1) % length == 0 ? Kernels.IGNORE : tokens[i + 1]);
    return targets;
  }

  /** Optimizer steps over blocks, with as many of the model's layers as have room. */
  static Map<String, Object> training(Bench bench) {
    Sizes sizes = bench.sizes;
    int blocks = sizes.tokens() / sizes.block();
    TrainingOptions options = options(blocks);
    ToLongFunction<Kernels.Heads> workspace =
        h -> bench.device.kernels().attentionBackwardWorkspace(DType.BF16, h);
    long room = bench.room();
    int layers = sizes.config().layers();
    while (layers > 1 && bytes(sizes.layers(layers), options, sizes.block(), workspace) > room) {
      layers--;
    }
    LlamaConfig config = sizes.layers(layers);
    List<MemoryPlan> plans = Trainer.plan(config, options, sizes.block(), workspace);
    long bytes = plans.stream().mapToLong(MemoryPlan::bytes).sum();
    int[] tokens = bench.tokens(sizes.tokens());
    int[] targets = next(tokens, sizes.block());
    MemoryPlan ofState =
        plans.stream().filter(p -> p.name().equals("training state")).findFirst().orElseThrow();
    try (LlamaWeights weights = bench.weights(config, true);
        MemoryPlan.Arena state = ofState.allocate(bench.device);
        var llama = new Llama(weights, options.memory())) {
      Kernels kernels = bench.device.kernels();
      Tensor gradient = state.get("gradients");
      Tensor m = state.get("first moments");
      Tensor v = state.get("second moments");
      Tensor norm = state.get("gradient norm");
      List.of(gradient, m, v).forEach(tensor -> kernels.fill(tensor, 0));
      var gradients = new LlamaParameters(config, gradient);
      var losses = new double[2]; // first, last
      var how = new Kernels.AdamW(1e-6f, 0.9f, 0.98f, 1e-8f, 0, 1, 1, 1);
      double seconds =
          bench.seconds(
              () -> {
                double loss =
                    llama.train(tokens, targets, blocks, 1f / sizes.tokens(), gradients, false);
                kernels.sumOfSquares(norm, gradient);
                kernels.adamw(weights.parameters().flat(), weights.low(), gradient, m, v, how, 0);
                losses[1] = Bench.finite("the loss", loss) / sizes.tokens();
                losses[0] = losses[0] == 0 ? losses[1] : losses[0];
              });
      double flops =
          Trainer.work(config, options, sizes.block()).stream()
              .filter(operation -> !operation.again())
              .mapToDouble(Operation::flops)
              .sum();
      return Map.of(
          "layers",
          layers,
          "tokens",
          sizes.tokens(),
          "blocks",
          blocks,
          "planned_bytes",
          bytes,
          "seconds",
          Bench.finite("the time of a step", seconds),
          "flops",
          flops,
          "tokens_per_second",
          sizes.tokens() / seconds,
          "first_loss",
          losses[0],
          "last_loss",
          losses[1]);
    }
  }

  /** As a large model is trained: gradients and moments BF16, layers recomputed. */
  private static TrainingOptions options(int batch) {
    TrainingOptions o = TrainingOptions.finetune();
    return new TrainingOptions(
        o.epochs(),
        o.learningRate(),
        o.warmup(),
        batch,
        1,
        o.beta1(),
        o.beta2(),
        o.eps(),
        o.weightDecay(),
        o.clip(),
        o.holdout(),
        o.shuffle(),
        o.seed(),
        o.checkpointEvery(),
        DType.BF16,
        DType.BF16,
        DType.BF16,
        new Llama.Memory(true, 512));
  }

  private static long bytes(
      LlamaConfig config,
      TrainingOptions options,
      int length,
      ToLongFunction<Kernels.Heads> workspace) {
    return Trainer.plan(config, options, length, workspace).stream()
        .mapToLong(MemoryPlan::bytes)
        .sum();
  }

  /** Greedy decoding after a prompt, each token read back as a text needs it; seconds are ours. */
  static Map<String, Object> decoding(Bench bench) {
    int count = bench.sizes.decoded();
    int layers = bench.sizes.config().layers();
    while (layers > 1
        && LlamaWeights.plan(bench.sizes.layers(layers), DType.BF16, false).bytes()
            > bench.room() * 7 / 8) {
      layers--;
    }
    LlamaConfig config = bench.sizes.layers(layers);
    try (LlamaWeights weights = bench.weights(config, false);
        var llama = new Llama(weights);
        var cache = new KeyValueCache(weights, 2 * count + 2);
        Tensor best = bench.device.allocate("next token", DType.I32, 1)) {
      int token = next(bench, llama.decode(List.of(bench.tokens(count)), cache), best);
      for (int i = 0; i < 2; i++) { // the second is recorded as a graph
        token = next(bench, llama.decode(List.of(new int[] {token}), cache), best);
      }
      int timed = count - 1;
      long start = System.nanoTime();
      for (int i = 0; i < timed; i++) {
        token = next(bench, llama.decode(List.of(new int[] {token}), cache), best);
      }
      double seconds = (System.nanoTime() - start) / 1e9 / timed;
      double bytes = LlamaWork.decoding(config, DType.BF16, count + count / 2).bytes();
      return Map.of(
          "layers", layers,
          "tokens", timed,
          "seconds", seconds,
          "bytes", bytes,
          "tokens_per_second", 1 / seconds);
    }
  }

  private static int next(Bench bench, Tensor logits, Tensor best) {
    bench.device.kernels().argmax(best, logits);
    int token = best.toInts()[0];
    if (token < 0) {
      throw new ArithmeticException("the logits are not numbers");
    }
    return token;
  }
}
