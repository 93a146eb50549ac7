package org.lethe.unlearn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.lethe.model.Refusals.refusedIo;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.function.ToIntFunction;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.kernels.MemoryPlan;
import org.lethe.kernels.Tensor;
import org.lethe.kernels.TestedDevices;
import org.lethe.model.Llama;
import org.lethe.model.LlamaConfig;
import org.lethe.model.PlannedMemory;
import org.lethe.text.LanguageModel;
import org.lethe.text.TextBlocks;
import org.lethe.text.TinyModel;
import org.lethe.train.TrainingBlock;

/** A whole text labelled by two tiny Llamas, against METHOD.md's formula in double. */
class LabellingTest {
  private static final Labelling.Options OPTIONS =
      new Labelling.Options(5, TextBlocks.Cutting.once(48), 7, DType.F32);

  @TempDir private Path temporary;
  private final Device device = Device.open("cpu", new Device.Options(1, null));
  private Path baseline = Path.of("");
  private Path reinforced = Path.of("");
  private Path text = Path.of("");
  private Path anchors = Path.of("");
  private int blocksBefore;

  @BeforeEach
  void write() throws IOException {
    baseline = TinyModel.write(temporary.resolve("baseline"));
    reinforced = TinyModel.write(temporary.resolve("reinforced"), 0.1f);
    text = TinyModel.text(temporary.resolve("text"), 12);
    anchors = TinyModel.anchors(temporary.resolve("anchors.json"));
  }

  @AfterEach
  void close() {
    device.close();
  }

  private record Labelled(int[] tokens, BlockTranslation translation) {}

  private static List<MemoryPlan> plan(
      LlamaConfig config, Labelling.Options options, List<Labelled> group) {
    return Labelling.plan(
        config,
        options,
        group.size(),
        longest(group, block -> block.tokens.length),
        longest(group, block -> block.translation.tokens().length),
        longest(group, block -> block.translation.forbidden().length));
  }

  private static int longest(List<Labelled> group, ToIntFunction<Labelled> length) {
    return group.stream().mapToInt(length).max().orElseThrow();
  }

  private boolean label(Path out, int blocksAtMost, List<Labelled> heard) throws IOException {
    return label(device, OPTIONS, out, blocksAtMost, heard);
  }

  private boolean label(
      Device on, Labelling.Options options, Path out, int blocksAtMost, List<Labelled> heard)
      throws IOException {
    return Labelling.run(
        on,
        baseline,
        reinforced,
        List.of(text),
        AnchorDictionary.read(anchors),
        out,
        options,
        (done, blocks, tokens, translation, labels) -> {
          heard.add(new Labelled(tokens, translation));
          assertEquals(blocksBefore + heard.size(), done);
        },
        () -> heard.size() >= blocksAtMost);
  }

  @Test
  void everyLabelIsTheReferences() throws IOException {
    Path out = temporary.resolve("labels.jsonl");
    var heard = new ArrayList<Labelled>();
    assertTrue(label(out, Integer.MAX_VALUE, heard));
    assertTrue(heard.size() > 10, "blocks: " + heard.size());
    assertTrue(heard.stream().anyMatch(l -> l.translation.forbidden().length > 1));
    int labelled = 0;
    int vocabulary;
    try (LanguageModel g = LanguageModel.open(device, baseline, DType.F32);
        LanguageModel r = LanguageModel.open(device, reinforced, DType.F32)) {
      vocabulary = g.weights().config().vocabulary();
      float[] alphas = GenericLabels.alphas(OPTIONS.alpha());
      for (int a = 0; a < alphas.length; a++) {
        List<TrainingBlock> blocks = LabelFile.read(out, LabelFile.KEYS.get(a), vocabulary);
        assertEquals(heard.size(), blocks.size());
        for (int i = 0; i < blocks.size(); i++) {
          Labelled l = heard.get(i);
          assertArrayEquals(l.tokens, blocks.get(i).inputs());
          assertArrayEquals(
              ReferenceLabels.of(
                  logits(g.llama(), l.translation.tokens()),
                  logits(r.llama(), l.tokens),
                  l.translation,
                  alphas[a]),
              blocks.get(i).labels(),
              "block " + i + ", " + LabelFile.KEYS.get(a));
          labelled += (int) Arrays.stream(blocks.get(i).labels()).filter(t -> t >= 0).count();
        }
      }
    }
    assertTrue(labelled > 1000, "labelled positions compared: " + labelled);
    assertFalse(
        Arrays.equals(
                LabelFile.read(out, "labels", vocabulary).getFirst().labels(),
                LabelFile.read(out, "labels_0.5", vocabulary).getFirst().labels())
            && Arrays.equals(
                LabelFile.read(out, "labels", vocabulary).getLast().labels(),
                LabelFile.read(out, "labels_2", vocabulary).getLast().labels()),
        "alpha makes no difference here");
  }

  private double[][] logits(Llama llama, int[] tokens) {
    int vocabulary = llama.config().vocabulary();
    try (Tensor all = device.allocate("logits", DType.F32, tokens.length, vocabulary)) {
      llama.logits(tokens, all);
      float[] flat = all.toFloats();
      double[][] rows = new double[tokens.length][vocabulary];
      for (int i = 0; i < flat.length; i++) {
        rows[i / vocabulary][i % vocabulary] = flat[i];
      }
      return rows;
    }
  }

  static List<String> devices() {
    return TestedDevices.names();
  }

  @Tag("model")
  @ParameterizedTest
  @MethodSource("devices")
  void aRunAllocatesWhatWasPlanned(String name) throws IOException {
    for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
      var options = new Labelling.Options(5, TextBlocks.Cutting.once(200), 7, dtype);
      try (Device on = TestedDevices.open(name, 1)) {
        var heard = new ArrayList<Labelled>();
        Path out = temporary.resolve("labels." + dtype);
        assertTrue(label(on, options, out, Integer.MAX_VALUE, heard));
        LlamaConfig config = Inputs.model(baseline);
        int together = Labelling.together(options);
        assertTrue(together > 1 && heard.size() > together, "blocks: " + heard.size());
        PlannedMemory.isThePeak(
            IntStream.iterate(0, first -> first < heard.size(), first -> first + together)
                .mapToObj(first -> heard.subList(first, Math.min(heard.size(), first + together)))
                .map(group -> plan(config, options, group))
                .max(
                    Comparator.comparingLong(
                        plans -> plans.stream().mapToLong(MemoryPlan::bytes).sum()))
                .orElseThrow(),
            on);
      }
    }
  }

  @Test
  void stoppedItGoesOn() throws IOException {
    Path out = temporary.resolve("labels.jsonl");
    Path atOnce = temporary.resolve("at once.jsonl");
    assertFalse(label(out, 3, new ArrayList<>()));
    assertFalse(Files.exists(out));
    blocksBefore = 3;
    assertTrue(label(out, Integer.MAX_VALUE, new ArrayList<>()));
    blocksBefore = 0;
    assertTrue(label(atOnce, Integer.MAX_VALUE, new ArrayList<>()));
    assertEquals(-1, Files.mismatch(atOnce, out));
  }

  @Test
  void withOtherOptionsItStartsAnew() throws IOException {
    Path out = temporary.resolve("labels.jsonl");
    Path other = temporary.resolve("other.jsonl");
    assertFalse(label(out, 3, new ArrayList<>()));
    var options = new Labelling.Options(1, OPTIONS.cutting(), OPTIONS.seed(), OPTIONS.dtype());
    assertTrue(label(device, options, out, Integer.MAX_VALUE, new ArrayList<>()));
    assertTrue(label(device, options, other, Integer.MAX_VALUE, new ArrayList<>()));
    assertEquals(-1, Files.mismatch(other, out));
  }

  @Test
  void whatCannotBeLabelledIsRefused() throws IOException {
    Path there = Files.writeString(temporary.resolve("there"), "mine");
    refusedIo("exists: delete it", () -> label(there, 1, new ArrayList<>()));
    assertEquals("mine", Files.readString(there));
  }
}
