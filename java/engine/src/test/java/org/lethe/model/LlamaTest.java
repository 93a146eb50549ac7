package org.lethe.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.lethe.model.Refusals.refused;

import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.kernels.Kernels;
import org.lethe.kernels.MemoryPlan;
import org.lethe.kernels.Tensor;
import org.lethe.kernels.TestedDevices;

/** What must hold between a Llama's own passes. */
@Tag("model")
class LlamaTest {
  private static final int LENGTH = 12;

  private final TinyLlama tiny = TinyLlama.untied();
  private final int vocabulary = tiny.config().vocabulary();
  private Device device;

  @BeforeEach
  void open() {
    device = TestedDevices.openAny();
  }

  @AfterEach
  void everythingIsFreed() {
    assertEquals(0, device.allocatedBytes(), () -> device.allocations().toString());
    device.close();
  }

  @ParameterizedTest
  @ValueSource(strings = {"tied", "untied"})
  void twoPassesAddUpToOne(String name) throws IOException {
    TinyLlama llama = TinyLlama.named(name);
    int[] tokens = llama.tokens("tokens", 4 * LENGTH);
    int[] targets = llama.tokens("targets", 4 * LENGTH);
    Arrays.fill(targets, LENGTH, LENGTH + 9, Kernels.IGNORE); // unequal counts of labels
    float scale = 1f / Golden.labelled(targets);
    int half = 2 * LENGTH;
    try (LlamaWeights weights = llama.load(device, DType.F32);
        Gradients one = new Gradients(weights, DType.F32);
        Gradients two = new Gradients(weights, DType.F32)) {
      double loss = one.train(tokens, targets, 4, scale);
      double first = two.train(Arrays.copyOf(tokens, half), Arrays.copyOf(targets, half), 2, scale);
      double second =
          two.train(
              Arrays.copyOfRange(tokens, half, 2 * half),
              Arrays.copyOfRange(targets, half, 2 * half),
              2,
              scale);
      assertEquals(loss, first + second, 1e-6 * loss);
      assertNear(one.all(), two.all(), 1e-6);
    }
  }

  @ParameterizedTest
  @CsvSource({"F32, 3", "F32, 8", "F32, 32", "BF16, 3", "BF16, 32"})
  void blocksSideBySideAreBlocksAlone(DType dtype, int blocks) throws IOException {
    int[] tokens = tiny.tokens("tokens", blocks * LENGTH);
    int[] targets = tiny.tokens("targets", blocks * LENGTH);
    try (LlamaWeights weights = tiny.load(device, dtype);
        Gradients together = new Gradients(weights, DType.F32);
        Gradients alone = new Gradients(weights, DType.F32);
        Llama llama = new Llama(weights)) {
      double loss = together.train(tokens, targets, blocks, 1);
      double sum = 0;
      double sumOfLoss = 0;
      for (int b = 0; b < blocks; b++) {
        int[] block = Arrays.copyOfRange(tokens, b * LENGTH, (b + 1) * LENGTH);
        int[] target = Arrays.copyOfRange(targets, b * LENGTH, (b + 1) * LENGTH);
        sum += alone.train(block, target, 1, 1);
        sumOfLoss += llama.loss(block, target, 1);
      }
      double tolerance = dtype == DType.F32 ? 1e-6 : 1e-3;
      assertEquals(loss, sum, tolerance * loss);
      assertEquals(llama.loss(tokens, targets, blocks), sumOfLoss, tolerance * loss);
      assertNear(together.all(), alone.all(), dtype == DType.F32 ? 1e-6 : 0.01);
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"F32", "BF16"})
  void logitsOfBlocksSideBySideAreThoseOfEachAlone(DType dtype) throws IOException {
    int[] tokens = tiny.tokens("tokens", 3 * LENGTH);
    List<int[]> blocks =
        List.of(
            Arrays.copyOfRange(tokens, 0, LENGTH - 5),
            Arrays.copyOfRange(tokens, LENGTH, 2 * LENGTH),
            Arrays.copyOfRange(tokens, 2 * LENGTH, 2 * LENGTH + 1));
    int padded = Llama.padded(blocks.size(), LENGTH);
    int vocabulary = tiny.config().vocabulary();
    try (LlamaWeights weights = tiny.load(device, dtype);
        Llama llama = new Llama(weights);
        Tensor together = device.allocate("together", DType.F32, 3L * padded, vocabulary)) {
      llama.logits(blocks, together);
      for (int b = 0; b < blocks.size(); b++) {
        int[] block = blocks.get(b);
        try (Tensor alone = device.allocate("alone", DType.F32, block.length, vocabulary)) {
          llama.logits(block, alone);
          assertNear(
              together.rows((long) b * padded, block.length).toFloats(),
              alone.toFloats(),
              dtype == DType.F32 ? 1e-6 : 0.01);
        }
      }
      refused("0 blocks", () -> llama.logits(List.of(), together));
      refused("0 tokens", () -> llama.logits(List.of(tokens, new int[0]), together));
      refused(
          "token -1 at 1", () -> llama.logits(List.of(new int[1], new int[] {0, -1}), together));
    }
  }

  @Test
  void lossesAreThoseOfTheLabelledPositionsInOrder() throws IOException {
    int[] tokens = tiny.tokens("tokens", 3 * LENGTH);
    int[] targets = new int[3 * LENGTH];
    Arrays.fill(targets, Kernels.IGNORE);
    int[] labelled = {0, 4, LENGTH - 1, LENGTH, 2 * LENGTH + 1, 3 * LENGTH - 1};
    for (int i : labelled) {
      targets[i] = i % tiny.config().vocabulary();
    }
    try (LlamaWeights weights = tiny.load(device, DType.F32);
        Llama llama = new Llama(weights)) {
      float[] losses = llama.losses(tokens, targets, 3);
      assertEquals(labelled.length, losses.length);
      for (int k = 0; k < losses.length; k++) {
        int block = labelled[k] / LENGTH;
        int[] alone = new int[LENGTH];
        Arrays.fill(alone, Kernels.IGNORE);
        alone[labelled[k] % LENGTH] = targets[labelled[k]];
        int[] own = Arrays.copyOfRange(tokens, block * LENGTH, (block + 1) * LENGTH);
        assertEquals(llama.loss(own, alone, 1), losses[k], 1e-5, "label " + k);
      }
      Arrays.fill(targets, Kernels.IGNORE);
      assertEquals(0, llama.losses(tokens, targets, 3).length);
    }
  }

  @Test
  void shortBlocksArePaddedTogether() {
    assertTrue(bytes(32, 16) <= bytes(8, 64));
    assertTrue(bytes(31, 16) > bytes(16, 64));
  }

  private long bytes(int blocks, int length) {
    Llama.Memory memory = Llama.Memory.DEFAULT;
    return Llama.plan(tiny.config(), DType.F32, blocks, length, true, memory, heads -> 0).stream()
        .mapToLong(MemoryPlan::bytes)
        .sum();
  }

  @Test
  void ignoredPositionsDoNotMatter() throws IOException {
    int[] tokens = tiny.tokens("tokens", LENGTH);
    int[] targets = tiny.tokens("targets", LENGTH);
    Arrays.fill(targets, 5, LENGTH, Kernels.IGNORE);
    targets[2] = Kernels.IGNORE;
    int[] others = tokens.clone();
    for (int i = 5; i < LENGTH; i++) { // nothing before them sees them, and they have no label
      others[i] = (others[i] + 1) % vocabulary;
    }
    try (LlamaWeights weights = tiny.load(device, DType.F32);
        Gradients a = new Gradients(weights, DType.F32);
        Gradients b = new Gradients(weights, DType.F32);
        Gradients prefix = new Gradients(weights, DType.F32);
        Llama llama = new Llama(weights)) {
      double loss = a.train(tokens, targets, 1, 1);
      assertEquals(loss, b.train(others, targets, 1, 1));
      assertArrayEquals(a.all(), b.all());
      double alone = prefix.train(Arrays.copyOf(tokens, 5), Arrays.copyOf(targets, 5), 1, 1);
      assertEquals(loss, alone, 1e-6 * loss);
      assertNear(a.all(), prefix.all(), 1e-6);
      assertEquals(loss, sumOfLogprobs(llama, tokens, targets), 1e-5 * loss);
    }
  }

  @Test
  void withoutALabelThereIsNoLossAndNoGradient() throws IOException {
    int[] tokens = tiny.tokens("tokens", LENGTH);
    int[] targets = new int[LENGTH];
    Arrays.fill(targets, Kernels.IGNORE);
    try (LlamaWeights weights = tiny.load(device, DType.F32);
        Gradients gradients = new Gradients(weights, DType.F32);
        Llama llama = new Llama(weights)) {
      assertEquals(0, gradients.train(tokens, targets, 1, 1));
      assertEquals(0, llama.loss(tokens, targets, 1));
      assertArrayEquals(new float[gradients.all().length], gradients.all());
      assertEquals(0, gradients.trainOver(3, tokens, targets, 1, 1));
      assertArrayEquals(new float[gradients.all().length], gradients.all());
    }
  }

  /** Of every parameter, over three chunks of the head: the first pass leaves nothing of before. */
  @ParameterizedTest
  @CsvSource({"tied, F32, F32", "untied, F32, F32", "tied, BF16, F32", "untied, BF16, BF16"})
  void theFirstPassWritesItsGradients(String name, DType dtype, DType gradientType)
      throws IOException {
    TinyLlama llama = TinyLlama.named(name);
    int[] tokens = llama.tokens("tokens", 60 * 20);
    int[] targets = llama.tokens("targets", 60 * 20);
    try (LlamaWeights weights = llama.load(device, dtype);
        Gradients added = new Gradients(weights, gradientType);
        Gradients written = new Gradients(weights, gradientType)) {
      double loss = added.train(tokens, targets, 60, 1);
      assertEquals(loss, written.trainOver(Float.NaN, tokens, targets, 60, 1));
      for (LlamaParameters.Parameter p : weights.parameters().parameters()) {
        assertArrayEquals(added.of(p.name()), written.of(p.name()), p.name());
      }
    }
  }

  /** More labelled positions than the head takes at a time: as the same in smaller passes. */
  @ParameterizedTest
  @ValueSource(strings = {"tied", "untied"})
  void theHeadsChunksAddUp(String name) throws IOException {
    TinyLlama llama = TinyLlama.named(name);
    int blocks = 60;
    int[] tokens = llama.tokens("tokens", blocks * 20);
    int[] targets = llama.tokens("targets", blocks * 20);
    for (int i = 0; i < targets.length; i += 7) {
      targets[i] = Kernels.IGNORE;
    }
    assertTrue(Golden.labelled(targets) > 2 * Llama.Memory.DEFAULT.headRows(), "three chunks");
    float scale = 1f / Golden.labelled(targets);
    try (LlamaWeights weights = llama.load(device, DType.F32);
        Gradients whole = new Gradients(weights, DType.F32);
        Gradients parts = new Gradients(weights, DType.F32);
        Llama running = new Llama(weights)) {
      double loss = whole.train(tokens, targets, blocks, scale);
      double sum = 0;
      int part = 20 * 20;
      for (int i = 0; i < tokens.length; i += part) {
        sum +=
            parts.train(
                Arrays.copyOfRange(tokens, i, i + part),
                Arrays.copyOfRange(targets, i, i + part),
                20,
                scale);
      }
      assertEquals(sum, loss, 1e-6 * sum);
      assertEquals(sum, running.loss(tokens, targets, blocks), 1e-6 * sum);
      assertNear(whole.all(), parts.all(), 1e-5);
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "BF16"})
  void runningIsTrainingWithoutTheGradient(DType dtype) throws IOException {
    int length = Llama.Memory.DEFAULT.headRows() + 30;
    int[] tokens = tiny.tokens("tokens", length);
    int[] targets = Golden.targets(tokens);
    double tolerance = dtype == DType.F32 ? 1e-5 : 2e-3; // bf16: training rounds its logits
    try (LlamaWeights weights = tiny.load(device, dtype);
        Gradients gradients = new Gradients(weights, DType.F32);
        Llama llama = new Llama(weights);
        Tensor logits = device.allocate("logits", DType.F32, length, vocabulary)) {
      double trained = gradients.train(tokens, targets, 1, 1);
      assertEquals(trained, llama.loss(tokens, targets, 1), tolerance * trained);
      assertEquals(trained, sumOfLogprobs(llama, tokens, targets), tolerance * trained);

      llama.logits(tokens, logits);
      float[] logprobs = llama.logprobs(tokens);
      float[] all = logits.toFloats();
      assertTrue(Float.isNaN(logprobs[0]), "nothing predicts the first token");
      for (int t = 1; t < length; t++) {
        float[] row = Arrays.copyOfRange(all, (t - 1) * vocabulary, t * vocabulary);
        assertEquals(logSoftmax(row, tokens[t]), logprobs[t], 1e-5, "position " + t);
      }
    }
  }

  @Test
  void oneTokenHasALogitRowButNoLogprob() throws IOException {
    try (LlamaWeights weights = tiny.load(device, DType.F32);
        Llama llama = new Llama(weights);
        Tensor logits = device.allocate("logits", DType.F32, 1, vocabulary);
        Tensor longer = device.allocate("logits", DType.F32, LENGTH, vocabulary)) {
      int[] tokens = tiny.tokens("tokens", LENGTH);
      assertArrayEquals(new float[] {Float.NaN}, llama.logprobs(Arrays.copyOf(tokens, 1)));
      llama.logits(Arrays.copyOf(tokens, 1), logits);
      llama.logits(tokens, longer);
      assertNear(Arrays.copyOf(longer.toFloats(), vocabulary), logits.toFloats(), 1e-6);
    }
  }

  @Test
  void theSamePassGivesTheSameBits() throws IOException {
    int[] tokens = tiny.tokens("tokens", 3 * LENGTH);
    for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
      try (LlamaWeights weights = tiny.load(device, dtype);
          Gradients a = new Gradients(weights, DType.F32);
          Gradients b = new Gradients(weights, DType.F32)) {
        assertEquals(a.train(tokens, tokens, 3, 1), b.train(tokens, tokens, 3, 1));
        assertArrayEquals(a.all(), b.all());
      }
    }
  }

  @Test
  void bf16WithoutItsLowHalvesRunsTheSame() throws IOException {
    int[] tokens = tiny.tokens("tokens", LENGTH);
    try (LlamaWeights exact = tiny.load(device, DType.BF16);
        LlamaWeights rounded = LlamaWeights.load(device, tiny.config(), exact, DType.BF16, false);
        Llama a = new Llama(exact);
        Llama b = new Llama(rounded)) {
      assertTrue(exact.isExact() && !rounded.isExact());
      assertNear(tail(a.logprobs(tokens)), tail(b.logprobs(tokens)), 0.01); // ties round apart
    }
  }

  @Test
  void whatDoesNotFitIsNamedWithItsPlace() throws IOException {
    int[] good = tiny.tokens("tokens", LENGTH);
    int[] bad = good.clone();
    bad[7] = vocabulary;
    int[] negative = good.clone();
    negative[3] = -1;
    try (LlamaWeights weights = tiny.load(device, DType.F32);
        Gradients gradients = new Gradients(weights, DType.F32);
        Llama llama = new Llama(weights);
        Tensor logits = device.allocate("logits", DType.F32, LENGTH, vocabulary);
        KeyValueCache cache = new KeyValueCache(weights, LENGTH)) {
      refused("token 131 at 7", () -> gradients.train(bad, good, 1, 1));
      refused("token -1 at 3", () -> llama.loss(negative, good, 1));
      refused("token -1 at 3", () -> llama.logits(negative, logits));
      refused("token 131 at 7", () -> llama.logprobs(bad));
      refused("token 131 at 0", () -> llama.logprobs(new int[] {vocabulary}));
      refused("token 131 at 7", () -> llama.decode(List.of(bad), cache));
      refused("token 131 at 7", () -> llama.next(bad, 1));
      refused("target 131 at 7", () -> gradients.train(good, bad, 1, 1));
      refused("target -1 at 3", () -> llama.loss(good, negative, 1));
      refused("11 targets for 12 tokens", () -> llama.loss(good, Arrays.copyOf(good, 11), 1));
      refused("12 tokens do not make 5 equal blocks", () -> llama.loss(good, good, 5));
      refused("12 tokens do not make 0 equal blocks", () -> gradients.train(good, good, 0, 1));
      refused("0 tokens", () -> llama.loss(new int[0], new int[0], 1));
      refused("0 tokens", () -> llama.logprobs(new int[0]));
      refused("0 tokens", () -> llama.logits(new int[0], logits));
      refused("0 tokens", () -> llama.decode(List.of(new int[0]), cache));
      refused("0 tokens", () -> llama.next(new int[0], 1));
      refused("0 of the most probable", () -> llama.next(good, 0));
      refused("132 of the most probable", () -> llama.next(good, vocabulary + 1));
      assertEquals(0, cache.length(0), "a refused call leaves the cache as it was");
      assertArrayEquals(new float[gradients.all().length], gradients.all());
      assertTrue(gradients.train(good, good, 1, 1) > 0, "and the model usable");
    }
  }

  @Test
  void theNextTokensAreTheMostProbable() throws IOException {
    int[] tokens = tiny.tokens("tokens", LENGTH);
    try (LlamaWeights weights = tiny.load(device, DType.F32);
        Llama llama = new Llama(weights);
        Tensor logits = device.allocate("logits", DType.F32, LENGTH, vocabulary)) {
      llama.logits(tokens, logits);
      float[] all = logits.toFloats();
      float[] last = Arrays.copyOfRange(all, all.length - vocabulary, all.length);
      var next = llama.next(tokens, vocabulary);
      double sum = 0;
      for (int i = 0; i < vocabulary; i++) {
        Llama.TokenProbability p = next.get(i);
        assertEquals(Math.exp(logSoftmax(last, p.token())), p.probability(), 1e-5);
        assertTrue(i == 0 || next.get(i - 1).probability() >= p.probability(), "falling");
        sum += p.probability();
      }
      assertEquals(1, sum, 1e-4);
      assertEquals(next.subList(0, 3), llama.next(tokens, 3));
    }
  }

  private static double sumOfLogprobs(Llama llama, int[] tokens, int[] targets) {
    try (Tensor logits =
        llama
            .weights()
            .device()
            .allocate("logits", DType.F32, tokens.length, llama.config().vocabulary())) {
      llama.logits(tokens, logits);
      float[] all = logits.toFloats();
      int vocabulary = llama.config().vocabulary();
      double sum = 0;
      for (int t = 0; t < tokens.length; t++) {
        if (targets[t] != Kernels.IGNORE) {
          sum -=
              logSoftmax(Arrays.copyOfRange(all, t * vocabulary, (t + 1) * vocabulary), targets[t]);
        }
      }
      return sum;
    }
  }

  private static double logSoftmax(float[] logits, int token) {
    double max = Double.NEGATIVE_INFINITY;
    for (float logit : logits) {
      max = Math.max(max, logit);
    }
    double sum = 0;
    for (float logit : logits) {
      sum += Math.exp(logit - max);
    }
    return logits[token] - max - Math.log(sum);
  }

  private static float[] tail(float[] values) {
    return Arrays.copyOfRange(values, 1, values.length);
  }

  private static void assertNear(float[] expected, float[] actual, double limit) {
    double distance = Golden.distance(actual, expected);
    assertTrue(distance <= limit, distance + " apart, norm-wise; " + limit + " is allowed");
  }
}
