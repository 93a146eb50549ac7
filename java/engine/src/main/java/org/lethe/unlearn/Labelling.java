package org.lethe.unlearn;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.BooleanSupplier;
import java.util.stream.Stream;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.kernels.MemoryPlan;
import org.lethe.kernels.Tensor;
import org.lethe.model.Llama;
import org.lethe.model.LlamaConfig;
import org.lethe.model.LlamaWeights;
import org.lethe.model.LlamaWork;
import org.lethe.model.Operation;
import org.lethe.text.LanguageModel;
import org.lethe.text.TextBlocks;
import tools.jackson.databind.json.JsonMapper;

/**
 * Makes the generic labels of a text: blocks through the reinforced model, their translations
 * through the baseline, both side by side so that no logits are stored.
 */
public final class Labelling {
  private static final String BASELINE = "baseline logits";
  private static final String REINFORCED = "reinforced logits";

  /** Tokens that go through a model at a time, about: products of fewer rows are slower a row. */
  private static final int TOGETHER = 512;

  /**
   * How to label.
   *
   * @param alpha how strongly what the reinforced model prefers is pushed away
   * @param cutting how the text becomes blocks
   * @param seed of the draws of stand-ins
   * @param dtype of both models; logits are F32
   */
  public record Options(double alpha, TextBlocks.Cutting cutting, long seed, DType dtype) {
    /** The paper's: alpha 5, blocks of 512. */
    public static final Options DEFAULT =
        new Options(5, TextBlocks.Cutting.once(512), 1, DType.BF16);

    /** Refuses what makes no labels. */
    public Options {
      if (!(alpha >= 0 && Double.isFinite(alpha))) {
        throw new IllegalArgumentException("alpha is " + alpha + ", must be a number from 0 on");
      }
      if (cutting.block() < 2) {
        throw new IllegalArgumentException("block is " + cutting.block() + ", must be at least 2");
      }
    }
  }

  /** Hears of each labelled block. */
  @FunctionalInterface
  public interface Listener {
    /**
     * A block has its labels.
     *
     * @param done blocks so far
     * @param blocks in all
     * @param labels (alphas, T) as {@link GenericLabels} has them
     */
    void labelled(int done, int blocks, int[] tokens, BlockTranslation translation, int[][] labels);
  }

  private Labelling() {}

  /**
   * Writes the label file of {@code texts}, which appears when it is whole. Stopped or killed, the
   * same call goes on behind the last block that was written.
   *
   * @param model the baseline
   * @param reinforced the model {@link TrainingPhase#onText} made of it
   * @param stop asked at every block
   * @return whether it finished
   */
  public static boolean run(
      Device device,
      Path model,
      Path reinforced,
      List<Path> texts,
      AnchorDictionary anchors,
      Path out,
      Options options,
      Listener listener,
      BooleanSupplier stop)
      throws IOException {
    if (Files.exists(out)) {
      throw new IOException(out + " exists: delete it, or choose another file");
    }
    Inputs.texts(texts);
    requireSame(model, reinforced);
    byte[] makes = makes(device, model, reinforced, texts, anchors, options);
    try (LabelFile.Writer file = LabelFile.create(out, makes);
        LanguageModel baseline = LanguageModel.open(device, model, options.dtype());
        LanguageModel knowing = LanguageModel.open(device, reinforced, options.dtype())) {
      var translator = new BlockTranslator(anchors, baseline.tokenizer()::encode, options.seed());
      List<int[]> blocks = baseline.blocks(texts, options.cutting());
      int together = together(options);
      // Groups are the same whatever was written before.
      for (int first = file.lines() / together * together;
          first < blocks.size();
          first += together) {
        if (stop.getAsBoolean()) {
          return false;
        }
        List<int[]> group = blocks.subList(first, Math.min(first + together, blocks.size()));
        var translations = new ArrayList<BlockTranslation>();
        for (int[] block : group) {
          translations.add(translator.translate(block, first + translations.size()));
        }
        List<int[][]> labels = label(device, baseline, knowing, group, translations, options);
        for (int i = file.lines() - first; i < group.size(); i++) {
          if (stop.getAsBoolean()) {
            return false;
          }
          file.write(group.get(i), labels.get(i));
          listener.labelled(
              first + i + 1, blocks.size(), group.get(i), translations.get(i), labels.get(i));
        }
      }
      file.commit();
      return true;
    }
  }

  /** All that the labels depend on, as JSON. */
  private static byte[] makes(
      Device device,
      Path model,
      Path reinforced,
      List<Path> texts,
      AnchorDictionary anchors,
      Options options)
      throws IOException {
    Map<String, Object> makes = Provenance.record(device, model);
    makes.put("reinforced", Provenance.of(reinforced));
    makes.put("text", Provenance.of(texts));
    makes.put("anchors", anchors.anchors());
    makes.put("options", options);
    return JsonMapper.shared().writeValueAsBytes(makes);
  }

  /** Blocks that are labelled at a time. */
  public static int together(Options options) {
    return Math.max(1, TOGETHER / options.cutting().block());
  }

  private static List<int[][]> label(
      Device device,
      LanguageModel baseline,
      LanguageModel knowing,
      List<int[]> blocks,
      List<BlockTranslation> translations,
      Options options) {
    int vocabulary = baseline.weights().config().vocabulary();
    List<int[]> translated = translations.stream().map(BlockTranslation::tokens).toList();
    int count = blocks.size();
    MemoryPlan plan = logits(vocabulary, count, longest(translated), longest(blocks));
    var labels = new ArrayList<int[][]>();
    try (MemoryPlan.Arena logits = plan.allocate(device)) {
      Tensor ofBaseline = logits.get(BASELINE);
      Tensor ofReinforced = logits.get(REINFORCED);
      baseline.llama().logits(translated, ofBaseline);
      knowing.llama().logits(blocks, ofReinforced);
      for (int i = 0; i < count; i++) {
        labels.add(
            GenericLabels.of(
                rows(ofBaseline, i, count, translated.get(i).length),
                rows(ofReinforced, i, count, blocks.get(i).length),
                translations.get(i),
                GenericLabels.alphas(options.alpha())));
      }
    }
    return labels;
  }

  private static int longest(List<int[]> blocks) {
    return blocks.stream().mapToInt(block -> block.length).max().orElseThrow();
  }

  /** The logits of one block of several side by side. */
  private static Tensor rows(Tensor logits, int block, int blocks, int length) {
    return logits.rows(block * (logits.rows() / blocks), length);
  }

  private static MemoryPlan logits(int vocabulary, int blocks, int translated, int length) {
    return new MemoryPlan("logits")
        .add(BASELINE, DType.F32, (long) blocks * Llama.padded(blocks, translated), vocabulary)
        .add(REINFORCED, DType.F32, (long) blocks * Llama.padded(blocks, length), vocabulary);
  }

  /**
   * What labelling blocks side by side allocates at its largest, both models and all.
   *
   * @param blocks of them, {@link #together}
   * @param length tokens in the longest
   * @param translated tokens in the longest translation
   * @param forbidden tokens that are held down in one of them
   */
  public static List<MemoryPlan> plan(
      LlamaConfig config, Options options, int blocks, int length, int translated, int forbidden) {
    var plans = new ArrayList<MemoryPlan>();
    for (int tokens : new int[] {translated, length}) {
      plans.add(LlamaWeights.plan(config, options.dtype(), false));
      plans.addAll(
          Llama.plan(
              config, options.dtype(), blocks, tokens, false, Llama.Memory.DEFAULT, heads -> 0));
    }
    plans.add(logits(config.vocabulary(), blocks, translated, length));
    plans.add(GenericLabels.plan(GenericLabels.alphas(options.alpha()).length, length, forbidden));
    return plans;
  }

  /** What labelling {@code blocks} of {@code length} tokens, translated into as many, does. */
  public static List<Operation> work(LlamaConfig config, Options options, int blocks, int length) {
    double logits = (double) blocks * length * config.vocabulary() * Float.BYTES;
    return Stream.concat(
            LlamaWork.logits(config, options.dtype(), blocks, length).stream()
                .map(each -> each.times(2)),
            Stream.of(new Operation("generic labels", 0, 2 * logits, false)))
        .toList();
  }

  private static void requireSame(Path pathA, Path pathB) throws IOException {
    int first = Inputs.model(pathA).vocabulary();
    int second = Inputs.model(pathB).vocabulary();
    if (first != second) {
      throw new IOException(
          "%s has a vocabulary of %d, %s of %d: the second is no reinforced copy of the first"
              .formatted(pathA, first, pathB, second));
    }
  }
}
