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
import org.lethe.model.Llama;
import org.lethe.model.LlamaConfig;
import org.lethe.model.LlamaWeights;
import org.lethe.model.LlamaWork;
import org.lethe.model.Operation;
import org.lethe.text.LanguageModel;
import org.lethe.text.TextBlocks;
import tools.jackson.databind.json.JsonMapper;

/**
 * Makes the generic labels of a text: each block through the reinforced model, its translation
 * through the baseline, both side by side so that no logits are stored.
 */
public final class Labelling {
  private static final String BASELINE = "baseline logits";
  private static final String REINFORCED = "reinforced logits";

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
      for (int i = file.lines(); i < blocks.size(); i++) {
        if (stop.getAsBoolean()) {
          return false;
        }
        BlockTranslation translation = translator.translate(blocks.get(i), i);
        int[][] labels = label(device, baseline, knowing, blocks.get(i), translation, options);
        file.write(blocks.get(i), labels);
        listener.labelled(i + 1, blocks.size(), blocks.get(i), translation, labels);
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

  private static int[][] label(
      Device device,
      LanguageModel baseline,
      LanguageModel knowing,
      int[] block,
      BlockTranslation translation,
      Options options) {
    int vocabulary = baseline.weights().config().vocabulary();
    MemoryPlan plan = logits(vocabulary, translation.tokens().length, block.length);
    try (MemoryPlan.Arena logits = plan.allocate(device)) {
      baseline.llama().logits(translation.tokens(), logits.get(BASELINE));
      knowing.llama().logits(block, logits.get(REINFORCED));
      return GenericLabels.of(
          logits.get(BASELINE),
          logits.get(REINFORCED),
          translation,
          GenericLabels.alphas(options.alpha()));
    }
  }

  private static MemoryPlan logits(int vocabulary, int translated, int length) {
    return new MemoryPlan("logits")
        .add(BASELINE, DType.F32, translated, vocabulary)
        .add(REINFORCED, DType.F32, length, vocabulary);
  }

  /**
   * What labelling a block allocates at its largest, both models and all.
   *
   * @param length tokens in the block
   * @param translated tokens in its translation
   * @param forbidden tokens that are held down in it
   */
  public static List<MemoryPlan> plan(
      LlamaConfig config, Options options, int length, int translated, int forbidden) {
    var plans = new ArrayList<MemoryPlan>();
    for (int tokens : new int[] {translated, length}) {
      plans.add(LlamaWeights.plan(config, options.dtype(), false));
      plans.addAll(
          Llama.plan(config, options.dtype(), 1, tokens, false, Llama.Memory.DEFAULT, heads -> 0));
    }
    plans.add(logits(config.vocabulary(), translated, length));
    plans.add(GenericLabels.plan(GenericLabels.alphas(options.alpha()).length, length, forbidden));
    return plans;
  }

  /** What labelling a block of {@code length} tokens, translated into as many, does. */
  public static List<Operation> work(LlamaConfig config, Options options, int length) {
    double logits = (double) length * config.vocabulary() * Float.BYTES;
    return Stream.concat(
            LlamaWork.logits(config, options.dtype(), length).stream().map(each -> each.times(2)),
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
