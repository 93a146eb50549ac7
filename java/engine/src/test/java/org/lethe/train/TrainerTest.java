package org.lethe.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.lethe.model.Refusals.refused;
import static org.lethe.model.Refusals.said;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.kernels.Kernels;
import org.lethe.model.Golden;
import org.lethe.model.Llama;
import org.lethe.model.LlamaWeights;
import org.lethe.model.TinyLlama;

/** What a step is: schedule, accumulation, clipping, held-out blocks, what stops it. */
class TrainerTest {
  @TempDir private Path temporary;
  private Device device;

  /** Keeps all it hears. */
  private static final class Recorder implements TrainingListener {
    final List<Step> steps = new ArrayList<>();
    final Map<Integer, Double> heldOut = new HashMap<>();
    final Map<Integer, Map<String, float[]>> weights = new HashMap<>();

    Map<String, float[]> weightsAfter(int step) {
      return Objects.requireNonNull(weights.get(step));
    }

    @Override
    public void stepped(Step step, int of, Llama llama) {
      steps.add(step);
      weights.put(step.step(), TinyRun.read(llama.weights()));
    }

    @Override
    public void evaluated(int step, double heldOutLoss, boolean best) {
      assertEquals(heldOut.values().stream().allMatch(loss -> heldOutLoss < loss), best);
      heldOut.put(step, heldOutLoss);
    }
  }

  @BeforeEach
  void open() {
    device = Device.open("cpu", new Device.Options(1, null));
  }

  @AfterEach
  void everythingIsFreed() {
    assertEquals(0, device.allocatedBytes(), () -> device.allocations().toString());
    device.close();
  }

  // ---- schedule ---------------------------------------------------------------------------------

  @Test
  void theRateFallsLinearlyFromItsFirstStep() {
    var run = new TinyRun();
    run.learningRate = 0.01;
    for (int s = 0; s < 7; s++) {
      assertEquals(0.01 * (1 - s / 7.0), run.options().learningRate(s, 7), 1e-18);
    }
  }

  @Test
  void warmUpRisesToTheSameLine() {
    var run = new TinyRun();
    run.learningRate = 0.01;
    run.warmup = 4;
    double[] share = {0.25, 0.5, 0.75, 1, 1, 1, 1, 1};
    for (int s = 0; s < 8; s++) {
      assertEquals(0.01 * share[s] * (1 - s / 8.0), run.options().learningRate(s, 8), 1e-18);
    }
  }

  @Test
  void everyStepTellsItsRate() throws IOException {
    var run = new TinyRun();
    var heard = new Recorder();
    run.listener = heard;
    run.warmup = 2;
    Trainer.Outcome outcome = run.run(device, temporary).outcome();
    assertEquals(new Trainer.Outcome(true, 6, 6, 0, Double.NaN), outcome);
    assertEquals(6, heard.steps.size());
    for (int s = 0; s < 6; s++) {
      assertEquals(run.options().learningRate(s, 6), heard.steps.get(s).learningRate());
    }
  }

  @Test
  void anEpochsLastStepTakesWhatIsLeft() throws IOException {
    var run = new TinyRun();
    run.batch = 2;
    run.accumulate = 4; // 12 blocks: 8 and 4
    run.epochs = 3;
    run.listener = new Recorder();
    assertEquals(6, run.run(device, temporary).outcome().steps());
  }

  // ---- alongside --------------------------------------------------------------------------------

  @Test
  void whatIsReadAlongsideIsReadOnceAnEqualPartAnEpoch() throws IOException {
    var run = new TinyRun();
    List<TrainingBlock> all = TinyRun.blocks(run.llama, 8, 16);
    run.blocks = all.subList(0, 3);
    run.alongside = all.subList(3, 8); // two an epoch, the last one is left over
    run.epochs = 2;
    run.batch = 1;
    run.accumulate = 5; // an epoch is a step
    run.learningRate = 1e-30; // a step's loss is that of the first weights
    var heard = new Recorder();
    run.listener = heard;
    assertEquals(2, run.run(device, temporary).outcome().steps());
    for (int epoch = 0; epoch < 2; epoch++) {
      List<TrainingBlock> read = new ArrayList<>(run.blocks);
      read.addAll(run.alongside.subList(2 * epoch, 2 * epoch + 2));
      double loss = 0;
      int labelled = 0;
      for (TrainingBlock block : read) {
        loss += loss(run.llama, block);
        labelled += block.labelled();
      }
      assertEquals(loss / labelled, heard.steps.get(epoch).loss(), 1e-5);
    }
  }

  @Test
  void tooLittleTextAlongsideIsRefused() throws IOException {
    var run = new TinyRun();
    run.epochs = 3;
    run.alongside = TinyRun.blocks(run.llama, 2, 16);
    try (LlamaWeights weights = run.llama.load(device, DType.F32)) {
      refused("2 blocks of text alongside for 3 epochs", () -> run.trainer(weights));
    }
  }

  // ---- accumulation -----------------------------------------------------------------------------

  @Test
  void aStepIsTheMeanOverItsLabelledTokensHoweverItIsCut() throws IOException {
    TinyLlama llama = TinyLlama.untied();
    TrainingBlock few = labelled(llama, "few", 14, 2);
    TrainingBlock many = labelled(llama, "many", 17, 16);
    List<TinyRun.Result> results = new ArrayList<>();
    List<TrainingListener.Step> steps = new ArrayList<>();
    for (int batch = 1; batch <= 2; batch++) {
      var run = new TinyRun();
      var heard = new Recorder();
      run.listener = heard;
      run.blocks = List.of(few, many);
      run.batch = batch;
      run.accumulate = 2 / batch;
      run.epochs = 3;
      run.shuffle = false;
      results.add(run.run(device, temporary.resolve("batch" + batch)));
      steps.add(heard.steps.getFirst());
    }
    double sum = loss(llama, few) + loss(llama, many);
    assertEquals(sum / (2 + 16), steps.get(0).loss(), 1e-5);
    assertEquals(steps.get(0).loss(), steps.get(1).loss(), 1e-5);
    assertEquals(steps.get(0).gradientNorm(), steps.get(1).gradientNorm(), 1e-5);
    results
        .get(0)
        .weights()
        .forEach(
            (name, weight) -> {
              double distance = Golden.distance(results.get(1).weight(name), weight);
              assertTrue(distance < 1e-5, name + ": " + distance);
            });
  }

  private static TrainingBlock labelled(TinyLlama llama, String name, int length, int labels) {
    int[] tokens = llama.tokens(name, length);
    int[] wanted = tokens.clone();
    Arrays.fill(wanted, 0, length - labels, Kernels.IGNORE);
    return new TrainingBlock(tokens, wanted);
  }

  private double loss(TinyLlama tiny, TrainingBlock block) throws IOException {
    try (LlamaWeights weights = tiny.load(device, DType.F32);
        Llama llama = new Llama(weights)) {
      return llama.loss(block.inputs(), Golden.targets(block.labels()), 1);
    }
  }

  // ---- clipping ---------------------------------------------------------------------------------

  @Test
  void clippingScalesTheGradientToItsNorm() throws IOException {
    Recorder free = firstStep("free", 0);
    double norm = free.steps.getFirst().gradientNorm();
    Recorder loose = firstStep("loose", 1.5 * norm);
    Recorder tight = firstStep("tight", 0.25 * norm);
    assertEquals(norm, loose.steps.getFirst().gradientNorm());
    assertEquals(norm, tight.steps.getFirst().gradientNorm(), "told before clipping");
    float[] m = moment("free");
    assertArrayEquals(m, moment("loose"));
    float[] clipped = moment("tight");
    float[] expected = m.clone();
    for (int i = 0; i < m.length; i++) {
      expected[i] *= 0.25f;
    }
    double distance = Golden.distance(clipped, expected);
    assertTrue(distance < 1e-6, "first moments, 0.1 of the clipped gradient: " + distance);
    double sum = 0;
    for (float x : clipped) {
      sum += (double) x * x;
    }
    assertEquals(0.1 * 0.25 * norm, Math.sqrt(sum), 1e-5 * norm);
  }

  private Recorder firstStep(String name, double clip) throws IOException {
    var run = new TinyRun();
    var heard = new Recorder();
    run.listener = heard;
    run.clip = clip;
    run.stop = () -> !heard.steps.isEmpty();
    Trainer.Outcome outcome = run.run(device, temporary.resolve(name)).outcome();
    assertEquals(new Trainer.Outcome(false, 1, 6, 0, Double.NaN), outcome);
    return heard;
  }

  private float[] moment(String name) throws IOException {
    byte[] bytes = Files.readAllBytes(temporary.resolve(name).resolve("checkpoint-1/m"));
    float[] m = new float[bytes.length / Float.BYTES];
    ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(m);
    return m;
  }

  // ---- held-out blocks --------------------------------------------------------------------------

  @Test
  void heldOutBlocksAreNeverTrainedOn() throws IOException {
    var sets = new ArrayList<Set<Integer>>();
    for (long seed : new long[] {1, 1, 2, 3}) {
      var run = new TinyRun();
      run.blocks = blocksWithTheirOwnTokens(run.llama);
      run.holdout = 0.3;
      run.seed = seed;
      run.epochs = 1;
      var heard = new Recorder();
      run.listener = heard;
      int steps = run.run(device, temporary.resolve("run" + sets.size())).outcome().steps();
      sets.add(untouched(run, heard.weightsAfter(steps)));
      assertEquals(3, sets.getLast().size(), "held out of 10");
    }
    assertEquals(sets.get(0), sets.get(1), "the same seed holds out the same blocks");
    assertTrue(new TreeSet<>(sets.stream().map(Object::toString).toList()).size() > 1, "others");
  }

  private static List<TrainingBlock> blocksWithTheirOwnTokens(TinyLlama llama) {
    var blocks = new ArrayList<TrainingBlock>();
    for (int b = 0; b < 10; b++) {
      int[] tokens = new int[12];
      for (int i = 0; i < tokens.length; i++) {
        tokens[i] = b * 12 + i;
      }
      assertTrue(tokens[11] < llama.config().vocabulary());
      blocks.add(TrainingBlock.nextToken(tokens));
    }
    return blocks;
  }

  /** Blocks whose tokens' embeddings did not move: no step had them as input. */
  private static Set<Integer> untouched(TinyRun run, Map<String, float[]> weights) {
    String embedding = "model.embed_tokens.weight";
    int width = run.llama.config().width();
    float[] before = run.llama.weight(embedding);
    float[] after = Objects.requireNonNull(weights.get(embedding));
    var untouched = new TreeSet<Integer>();
    for (int b = 0; b < run.blocks.size(); b++) {
      int row = b * 12 * width;
      if (Arrays.equals(before, row, row + width, after, row, row + width)) {
        untouched.add(b);
      }
    }
    return untouched;
  }

  @Test
  void theBestCheckpointIsTheResult() throws IOException {
    var run = new TinyRun();
    var heard = new Recorder();
    run.listener = heard;
    run.holdout = 0.25;
    run.learningRate = 0.03; // learns its random labels by heart, to the held-out ones' harm
    run.epochs = 10;
    TinyRun.Result result = run.run(device, temporary);
    Trainer.Outcome outcome = result.outcome();
    assertTrue(heard.heldOut.containsKey(outcome.steps()), "measured at the end too");
    assertTrue(heard.heldOut.size() >= 10, heard.heldOut.toString());
    double best = heard.heldOut.values().stream().min(Double::compare).orElseThrow();
    assertEquals(best, outcome.heldOutLoss());
    assertEquals(best, heard.heldOut.get(outcome.bestStep()));
    assertNotEquals(outcome.steps(), outcome.bestStep(), "a test of the last step only");
    assertSame(heard.weightsAfter(outcome.bestStep()), result.weights());

    run.listener = TrainingListener.NONE;
    TinyRun.Result again = run.run(device, temporary);
    assertEquals(outcome, again.outcome(), "weights that nobody wrote are made again");
    assertSame(result.weights(), again.weights());
    assertFalse(Files.exists(temporary.resolve("checkpoint-" + outcome.steps())));
    assertTrue(Files.isDirectory(temporary.resolve("best-" + outcome.bestStep())));
    try (RunFolder folder = RunFolder.open(temporary, TinyRun.RECORD)) {
      Trainer.clear(folder);
    }
    assertEquals(List.of(".lock", "metrics.jsonl", "run.json"), TinyRun.names(temporary));
  }

  private static void assertSame(Map<String, float[]> expected, Map<String, float[]> actual) {
    assertEquals(expected.keySet(), actual.keySet());
    expected.forEach((name, values) -> assertArrayEquals(values, actual.get(name), name));
  }

  @Test
  void heldOutBlocksWithoutALabelChooseNothing() throws IOException {
    var run = new TinyRun();
    int[] nothing = new int[8];
    Arrays.fill(nothing, Kernels.IGNORE);
    var blocks = new ArrayList<TrainingBlock>();
    for (int b = 0; b < 10; b++) {
      blocks.add(new TrainingBlock(run.llama.tokens("block " + b, 8), nothing));
    }
    int trainable = theOnlyTrainingBlockOf(10, 0.9, run.seed, run.llama);
    blocks.set(trainable, TrainingBlock.nextToken(run.llama.tokens("labelled", 8)));
    run.blocks = blocks;
    run.holdout = 0.9;
    run.epochs = 4;
    var heard = new Recorder();
    run.listener = heard;
    TinyRun.Result result = run.run(device, temporary.resolve("run"));
    assertEquals(new Trainer.Outcome(true, 4, 4, 0, Double.NaN), result.outcome());
    assertSame(heard.weightsAfter(4), result.weights());
  }

  /** Found by trying: the block whose label alone is accepted. */
  private int theOnlyTrainingBlockOf(int count, double holdout, long seed, TinyLlama llama)
      throws IOException {
    int[] nothing = new int[8];
    Arrays.fill(nothing, Kernels.IGNORE);
    try (LlamaWeights weights = llama.load(device, DType.F32)) {
      for (int candidate = 0; candidate < count; candidate++) {
        var run = new TinyRun();
        run.holdout = holdout;
        run.seed = seed;
        run.blocks = new ArrayList<>();
        for (int b = 0; b < count; b++) {
          int[] tokens = llama.tokens("block " + b, 8);
          run.blocks.add(
              b == candidate
                  ? TrainingBlock.nextToken(tokens)
                  : new TrainingBlock(tokens, nothing));
        }
        try {
          run.trainer(weights);
          return candidate;
        } catch (IllegalArgumentException e) {
          said("no labelled position is left", e);
        }
      }
    }
    throw new AssertionError("every block is held out");
  }

  @Test
  void refusesWhatCannotBeTrained() throws IOException {
    var run = new TinyRun();
    try (LlamaWeights weights = run.llama.load(device, DType.F32);
        LlamaWeights rounded =
            LlamaWeights.load(device, run.llama.config(), run.llama, DType.BF16, false)) {
      run.blocks = List.of();
      refused("0 blocks, 0 held out", () -> run.trainer(weights));
      run.blocks = List.of(TrainingBlock.nextToken(new int[] {1, 2, 3}));
      run.holdout = 0.5;
      refused("1 blocks, 1 held out", () -> run.trainer(weights));
      run.holdout = 0;
      run.blocks = List.of(TrainingBlock.nextToken(new int[] {1}));
      refused("no labelled position", () -> run.trainer(weights));
      run.blocks = List.of(TrainingBlock.nextToken(new int[] {1, 2, 3}));
      run.dtype = DType.BF16;
      refused("weights are F32, the options say BF16", () -> run.trainer(weights));
      refused("low halves", () -> run.trainer(rounded));
      run.dtype = DType.F32;
      run.gradientType = DType.BF16;
      refused("gradient dtype is BF16", run::options);
    }
    refused("0 inputs", () -> new TrainingBlock(new int[0], new int[0]));
    refused("0 inputs", () -> TrainingBlock.nextToken(new int[0]));
    refused("2 inputs and 3 labels", () -> new TrainingBlock(new int[2], new int[3]));
  }

  // ---- what is not finite -----------------------------------------------------------------------

  @Test
  void aLossThatIsNotFiniteStopsBeforeDamage() throws IOException {
    var run = new TinyRun();
    run.checkpointEvery = 2;
    String expected = digestOfAGoodRun(run);
    Path directory = temporary.resolve("run");
    run.listener = poisonedAfter(3, "model.norm.weight", Float.POSITIVE_INFINITY);
    var error = assertThrows(TrainingDivergedException.class, () -> run.run(device, directory));
    assertEquals(4, error.step());
    assertEquals("loss", error.tensor());
    said("step 4: the loss is not finite", error);
    assertTrue(Files.isDirectory(directory.resolve("checkpoint-2")), "the last good one stays");
    assertEquals(3, Metrics.read(directory).size());

    run.listener = TrainingListener.NONE;
    assertTrue(run.run(device, directory).outcome().finished());
    assertEquals(expected, TinyRun.digest(directory), "and the run goes on from it");
  }

  /**
   * A head as large as fp32 allows under a last norm as small: logits, and so the loss, are small
   * numbers, while the gradient that goes back through the head overflows.
   */
  @Test
  void aGradientThatIsNotFiniteIsNamed() throws IOException {
    var run = new TinyRun();
    run.checkpointEvery = 2;
    run.blocks = List.of(labelled(run.llama, "one label", 12, 1));
    run.epochs = 6;
    Path directory = temporary.resolve("run");
    int width = run.llama.config().width();
    run.listener =
        new TrainingListener() {
          @Override
          public void stepped(Step step, int steps, Llama llama) {
            if (step.step() == 2) {
              float[] head = new float[run.llama.config().vocabulary() * width];
              float[] sign = TinyLlama.noise("signs", head.length);
              for (int i = 0; i < head.length; i++) {
                head[i] = sign[i] < 0 ? -3e38f : 3e38f;
              }
              llama.weights().parameters().head().set(head);
              float[] norm = new float[width];
              Arrays.fill(norm, 2e-38f);
              llama.weights().parameters().norm().set(norm);
            }
          }
        };
    var error = assertThrows(TrainingDivergedException.class, () -> run.run(device, directory));
    assertEquals(3, error.step());
    assertEquals("model.norm.weight", error.tensor());
    said("step 3: the gradient of model.norm.weight is not finite", error);
    assertTrue(Files.isDirectory(directory.resolve("checkpoint-2")));
  }

  private String digestOfAGoodRun(TinyRun run) throws IOException {
    Path directory = temporary.resolve("good");
    run.run(device, directory);
    return TinyRun.digest(directory);
  }

  private static TrainingListener poisonedAfter(int poisoned, String parameter, float value) {
    return new TrainingListener() {
      @Override
      public void stepped(Step step, int steps, Llama llama) {
        if (step.step() == poisoned) {
          var tensor = llama.weights().parameters().tensor(parameter);
          float[] values = tensor.toFloats();
          values[values.length / 2] = value;
          tensor.set(values);
        }
      }
    };
  }
}
