package org.lethe.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.lethe.model.Refusals.refused;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.kernels.MemoryPlan;
import org.lethe.kernels.Tensor;
import org.lethe.kernels.TestedDevices;

/** Decoding with a cache is running without one, token by token. */
@Tag("model")
class DecodingTest {
  private static final int PROMPT = 7;
  private static final int NEW = 24;

  private Device device;

  @BeforeEach
  void open() {
    device = TestedDevices.open(TestedDevices.names().getFirst(), 1);
  }

  @AfterEach
  void everythingIsFreed() {
    assertEquals(0, device.allocatedBytes(), () -> device.allocations().toString());
    device.close();
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "BF16"})
  void logitsFromTheCacheAreThoseOfTheWhole(DType dtype) throws IOException {
    double tolerance = dtype == DType.F32 ? 1e-5 : 0.02;
    for (TinyLlama tiny : List.of(TinyLlama.tied(), TinyLlama.untied())) {
      int[] tokens = tiny.tokens("tokens", PROMPT + NEW);
      int vocabulary = tiny.config().vocabulary();
      try (LlamaWeights weights = tiny.load(device, dtype);
          Llama whole = new Llama(weights);
          Llama cached = new Llama(weights);
          KeyValueCache cache = new KeyValueCache(weights, tokens.length);
          Tensor logits = device.allocate("logits", DType.F32, tokens.length, vocabulary)) {
        whole.logits(tokens, logits);
        float[] all = logits.toFloats();
        for (int pass = 0; pass < 2; pass++) { // the second over what the first left there
          for (int end = PROMPT; end <= tokens.length; end++) {
            int from = end == PROMPT ? 0 : end - 1;
            float[] row =
                cached.decode(List.of(Arrays.copyOfRange(tokens, from, end)), cache).toFloats();
            float[] expected = Arrays.copyOfRange(all, (end - 1) * vocabulary, end * vocabulary);
            double distance = Golden.distance(row, expected);
            assertTrue(distance < tolerance, "after " + end + " tokens: " + distance);
            assertEquals(end, cache.length(0));
          }
          cache.clear();
        }
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"tied", "untied"})
  void greedyTokensAreThoseWithoutACache(String name) throws IOException {
    assertSameTokens(TinyLlama.named(name), Sampling.GREEDY);
  }

  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3})
  void drawnTokensAreThoseWithoutACache(long seed) throws IOException {
    assertSameTokens(TinyLlama.untied(), new Sampling(0.8, 1, seed));
    assertSameTokens(TinyLlama.untied(), new Sampling(1.3, 0.9, seed));
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "BF16"})
  void sequencesSideBySideAreSequencesAlone(DType dtype) throws IOException {
    double tolerance = dtype == DType.F32 ? 1e-5 : 0.02;
    TinyLlama tiny = TinyLlama.untied();
    List<int[]> prompts = List.of(tiny.tokens("a", 7), tiny.tokens("b", 1), tiny.tokens("c", 30));
    try (LlamaWeights weights = tiny.load(device, dtype);
        Llama llama = new Llama(weights);
        KeyValueCache together = new KeyValueCache(weights, 3, 30 + NEW)) {
      List<float[]> alone = new ArrayList<>();
      for (int[] prompt : prompts) {
        try (KeyValueCache cache = new KeyValueCache(weights, prompt.length + NEW)) {
          alone.add(llama.decode(List.of(prompt), cache).toFloats());
          for (int i = 0; i < NEW; i++) {
            alone.add(llama.decode(List.of(new int[] {i}), cache).toFloats());
          }
        }
      }
      for (int i = -1; i < NEW; i++) {
        int[] next = {i};
        float[] logits =
            llama.decode(i < 0 ? prompts : List.of(next, next, next), together).toFloats();
        if (i % 5 == 0) { // another cache, of another number of sequences, in between
          try (KeyValueCache other = new KeyValueCache(weights, 1 + i % 2, 2)) {
            llama.decode(Collections.nCopies(1 + i % 2, next), other);
            llama.decode(Collections.nCopies(1 + i % 2, next), other);
          }
        }
        int vocabulary = tiny.config().vocabulary();
        for (int b = 0; b < 3; b++) {
          float[] row = Arrays.copyOfRange(logits, b * vocabulary, (b + 1) * vocabulary);
          double distance = Golden.distance(row, alone.get(b * (NEW + 1) + i + 1));
          assertTrue(distance < tolerance, "sequence " + b + ", token " + i + ": " + distance);
          assertEquals(prompts.get(b).length + i + 1, together.length(b));
        }
      }
    }
  }

  /** Not only nearly: on a CPU no bit of a token depends on the sequences beside it. */
  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "BF16"})
  void stepsSideBySideHaveTheBitsOfStepsAlone(DType dtype) throws IOException {
    TinyLlama tiny = TinyLlama.tied();
    int vocabulary = tiny.config().vocabulary();
    int sequences = 11;
    List<int[]> texts =
        IntStream.range(0, sequences).mapToObj(b -> tiny.tokens("text " + b, NEW)).toList();
    try (Device cpu = TestedDevices.open("cpu", 1);
        LlamaWeights weights = tiny.load(cpu, dtype);
        Llama llama = new Llama(weights);
        KeyValueCache together = new KeyValueCache(weights, sequences, NEW)) {
      float[][] logits = new float[NEW][];
      for (int i = 0; i < NEW; i++) {
        int at = i;
        logits[i] =
            llama
                .decode(texts.stream().map(text -> new int[] {text[at]}).toList(), together)
                .toFloats();
      }
      for (int b = 0; b < sequences; b++) {
        try (KeyValueCache alone = new KeyValueCache(weights, NEW)) {
          for (int i = 0; i < NEW; i++) {
            float[] own = llama.decode(List.of(new int[] {texts.get(b)[i]}), alone).toFloats();
            assertArrayEquals(
                own, Arrays.copyOfRange(logits[i], b * vocabulary, (b + 1) * vocabulary));
          }
        }
      }
    }
  }

  /** Packed weights are the same weights: not a bit of a token changes. */
  @ParameterizedTest
  @MethodSource("devices")
  void packedWeightsGiveTheSameBits(String name) throws IOException {
    for (TinyLlama tiny : List.of(TinyLlama.tied(), TinyLlama.untied())) {
      int[] prompt = tiny.tokens("prompt", PROMPT);
      try (Device on = TestedDevices.open(name, 1);
          LlamaWeights plain = toRun(tiny, on, DType.BF16);
          LlamaWeights packed = toRun(tiny, on, DType.BF16);
          LlamaWeights wide = toRun(tiny, on, DType.F32);
          Llama one = new Llama(plain);
          Llama other = new Llama(packed);
          KeyValueCache cacheOfOne = new KeyValueCache(plain, PROMPT + NEW);
          KeyValueCache cacheOfOther = new KeyValueCache(packed, PROMPT + NEW)) {
        long before = on.allocatedBytes();
        assertEquals(packed.packedBytes() > 0, packed.pack());
        assertEquals(packed.packedBytes(), on.allocatedBytes() - before);
        assertEquals(packed.packedBytes() > 0, packed.pack(), "again");
        assertEquals(packed.packedBytes(), on.allocatedBytes() - before);
        assertEquals(false, wide.pack(), "F32");
        for (int i = 0; i < NEW; i++) {
          List<int[]> tokens = List.of(i == 0 ? prompt : new int[] {i});
          assertArrayEquals(
              one.decode(tokens, cacheOfOne).toFloats(),
              other.decode(tokens, cacheOfOther).toFloats());
        }
      }
    }
  }

  private static LlamaWeights toRun(TinyLlama tiny, Device on, DType dtype) {
    return LlamaWeights.load(on, tiny.config(), tiny, dtype, false);
  }

  @Test
  void weightsToTrainAreNotPacked() throws IOException {
    try (LlamaWeights weights = TinyLlama.tied().load(device, DType.BF16)) {
      Refusals.said("cannot be packed", assertThrows(IllegalStateException.class, weights::pack));
    }
  }

  @Test
  void severalPromptsGoOnAsEachAlone() throws IOException {
    TinyLlama tiny = TinyLlama.untied();
    List<int[]> prompts = List.of(tiny.tokens("a", 9), tiny.tokens("b", 2), tiny.tokens("c", 20));
    try (LlamaWeights weights = tiny.load(device, DType.F32);
        Llama llama = new Llama(weights)) {
      var generator = new Generator(llama);
      for (Sampling sampling : List.of(Sampling.GREEDY, new Sampling(1, 0.9, 4))) {
        // the second is told to stop after five
        List<int[]> made =
            generator.generate(
                prompts,
                NEW,
                sampling,
                new Generator.More() {
                  private int heard;

                  @Override
                  public boolean after(int sequence, int token) {
                    return sequence != 1 || ++heard < 5;
                  }
                });
        for (int i = 0; i < prompts.size(); i++) {
          var own = new Sampling(sampling.temperature(), sampling.topP(), sampling.seed() + i);
          int[] alone = generator.generate(prompts.get(i), i == 1 ? 5 : NEW, own, token -> true);
          assertArrayEquals(alone, made.get(i), "prompt " + i);
        }
      }
      assertEquals(List.of(), generator.generate(List.of(), NEW, Sampling.GREEDY, (i, t) -> true));
    }
  }

  private void assertSameTokens(TinyLlama tiny, Sampling sampling) throws IOException {
    int[] prompt = tiny.tokens("prompt", PROMPT);
    try (LlamaWeights weights = tiny.load(device, DType.F32);
        Llama llama = new Llama(weights)) {
      int[] cached = new Generator(llama).generate(prompt, NEW, sampling, token -> true);
      int[] whole = withoutCache(llama, prompt, NEW, sampling);
      assertArrayEquals(whole, cached);
      assertArrayEquals(
          cached, new Generator(llama).generate(prompt, NEW, sampling, token -> true), "again");
    }
  }

  private int[] withoutCache(Llama llama, int[] prompt, int count, Sampling sampling) {
    var random = new SplittableRandom(sampling.seed());
    int vocabulary = llama.config().vocabulary();
    int[] tokens = prompt;
    while (tokens.length < prompt.length + count) {
      float[] last;
      try (Tensor logits = device.allocate("logits", DType.F32, tokens.length, vocabulary)) {
        llama.logits(tokens, logits);
        last = logits.rows(tokens.length - 1L, 1).toFloats();
      }
      int next = sampling.greedy() ? argmax(last) : sampling.draw(last, random);
      if (llama.config().eosTokens().contains(next)) {
        break;
      }
      tokens = Arrays.copyOf(tokens, tokens.length + 1);
      tokens[tokens.length - 1] = next;
    }
    return Arrays.copyOfRange(tokens, prompt.length, tokens.length);
  }

  private static int argmax(float[] values) {
    int best = 0;
    for (int i = 1; i < values.length; i++) {
      best = values[i] > values[best] ? i : best;
    }
    return best;
  }

  @Test
  void anotherSeedDrawsOtherTokens() throws IOException {
    TinyLlama tiny = TinyLlama.untied();
    int[] prompt = tiny.tokens("prompt", PROMPT);
    try (LlamaWeights weights = tiny.load(device, DType.F32);
        Llama llama = new Llama(weights)) {
      var generator = new Generator(llama);
      int[] one = generator.generate(prompt, NEW, new Sampling(1, 1, 1), token -> true);
      int[] two = generator.generate(prompt, NEW, new Sampling(1, 1, 2), token -> true);
      assertTrue(!Arrays.equals(one, two), "24 equal tokens of 131 from two seeds");
    }
  }

  @Test
  void stopsAtTheEndOfTextAtTheLimitAndWhenTold() throws IOException {
    TinyLlama tiny = TinyLlama.untied();
    int[] prompt = tiny.tokens("prompt", PROMPT);
    int[] all;
    try (LlamaWeights weights = tiny.load(device, DType.F32);
        Llama llama = new Llama(weights)) {
      var generator = new Generator(llama);
      all = generator.generate(prompt, NEW, Sampling.GREEDY, token -> true);
      assertEquals(NEW, all.length);
      assertArrayEquals(new int[0], generator.generate(prompt, 0, Sampling.GREEDY, token -> true));
      List<Integer> heard = new ArrayList<>();
      int[] five =
          generator.generate(
              prompt,
              NEW,
              Sampling.GREEDY,
              token -> {
                heard.add(token);
                return heard.size() < 5;
              });
      assertArrayEquals(Arrays.copyOf(all, 5), five);
      assertArrayEquals(five, heard.stream().mapToInt(Integer::intValue).toArray());
    }
    int end = all[NEW / 2];
    int first = 0;
    while (all[first] != end) {
      first++;
    }
    LlamaConfig c = tiny.config();
    var ending =
        new TinyLlama(
            new LlamaConfig(
                c.vocabulary(),
                c.width(),
                c.feedForward(),
                c.layers(),
                c.heads(),
                c.kvHeads(),
                c.headSize(),
                c.positions(),
                c.normEps(),
                c.ropeTheta(),
                c.ropeScaling(),
                c.tiedHead(),
                c.bosToken(),
                List.of(c.eosToken(), end)));
    try (LlamaWeights weights = ending.load(device, DType.F32);
        Llama llama = new Llama(weights)) {
      assertArrayEquals(
          Arrays.copyOf(all, first),
          new Generator(llama).generate(prompt, NEW, Sampling.GREEDY, token -> true));
    }
  }

  @Test
  void refusesWhatDoesNotFit() throws IOException {
    TinyLlama tiny = TinyLlama.tied();
    int[] prompt = tiny.tokens("prompt", PROMPT);
    try (LlamaWeights weights = tiny.load(device, DType.F32);
        Llama llama = new Llama(weights);
        KeyValueCache cache = new KeyValueCache(weights, PROMPT + 1)) {
      var generator = new Generator(llama);
      refused("no token", () -> generator.generate(new int[0], 1, Sampling.GREEDY, t -> true));
      refused("-1", () -> generator.generate(prompt, -1, Sampling.GREEDY, t -> true));
      refused(
          "7 tokens of prompt and 58 more exceed the model's context of 64",
          () -> generator.generate(prompt, 58, Sampling.GREEDY, t -> true));
      refused("context", () -> generator.generate(prompt, 1 << 30, Sampling.GREEDY, t -> true));
      int[] out = prompt.clone();
      out[2] = 257;
      refused("token 257 at 2", () -> generator.generate(out, 1, Sampling.GREEDY, t -> true));

      llama.decode(List.of(prompt), cache);
      refused("takes one at a time, not 2", () -> llama.decode(List.of(new int[] {1, 2}), cache));
      llama.decode(List.of(new int[] {1}), cache);
      refused("2 sequences for a cache of 1", () -> llama.decode(List.of(prompt, prompt), cache));
      refused(
          "1 tokens after 8 do not fit a cache of 8",
          () -> llama.decode(List.of(new int[] {1}), cache));
    }
  }

  @ParameterizedTest
  @MethodSource("devices")
  void decodingAllocatesWhatWasPlanned(String name) throws IOException {
    TinyLlama tiny = TinyLlama.tied();
    LlamaConfig config = tiny.config();
    int prompt = 40; // what it takes is more than loading took
    int capacity = Llama.padded(1, prompt); // the rope table covers the cache, and the padding
    for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
      var plans = new ArrayList<MemoryPlan>();
      plans.add(LlamaWeights.plan(config, dtype, true));
      plans.add(KeyValueCache.plan(config, dtype, 1, capacity));
      plans.addAll(Llama.plan(config, dtype, 1, prompt, false, Llama.Memory.DEFAULT, h -> 0));
      try (Device on = TestedDevices.open(name, 1);
          LlamaWeights weights = tiny.load(on, dtype);
          Llama llama = new Llama(weights);
          KeyValueCache cache = new KeyValueCache(weights, capacity)) {
        llama.decode(List.of(tiny.tokens("prompt", prompt)), cache);
        PlannedMemory.isThePeak(plans, on);
      }
    }
  }

  static List<String> devices() {
    return TestedDevices.names();
  }

  @Test
  void logitsThatAreNoNumbersAreAnError() throws IOException {
    TinyLlama tiny = TinyLlama.untied();
    try (LlamaWeights weights = tiny.load(device, DType.F32);
        Llama llama = new Llama(weights)) {
      weights.parameters().norm().set(filled(tiny.config().width(), Float.NaN));
      Refusals.said(
          "NaN",
          assertThrows(
              ArithmeticException.class,
              () -> new Generator(llama).generate(new int[] {1}, 3, Sampling.GREEDY, t -> true)));
    }
  }

  private static float[] filled(int n, float value) {
    float[] values = new float[n];
    Arrays.fill(values, value);
    return values;
  }
}
