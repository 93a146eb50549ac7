package org.lethe.unlearn;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.function.BooleanSupplier;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.kernels.Tensor;
import org.lethe.text.LanguageModel;
import org.lethe.text.TextBlocks;

/**
 * Makes the generic labels of a text: each block through the reinforced model, its translation
 * through the baseline, both side by side so that no logits are stored.
 */
public final class Labelling {
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
   * Writes the label file of {@code texts}. Whole or not at all.
   *
   * @param model the baseline
   * @param reinforced the model {@link TrainingPhase#onText} made of it
   * @param stop asked at every block
   * @return whether it finished; if not, nothing was written
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
    try (LabelFile.Writer file = LabelFile.create(out);
        LanguageModel baseline = LanguageModel.open(device, model, options.dtype());
        LanguageModel knowing = LanguageModel.open(device, reinforced, options.dtype())) {
      var translator = new BlockTranslator(anchors, baseline.tokenizer()::encode, options.seed());
      List<int[]> blocks = baseline.blocks(texts, options.cutting());
      for (int i = 0; i < blocks.size(); i++) {
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

  private static int[][] label(
      Device device,
      LanguageModel baseline,
      LanguageModel knowing,
      int[] block,
      BlockTranslation translation,
      Options options) {
    int vocabulary = baseline.weights().config().vocabulary();
    int translated = translation.tokens().length;
    try (Tensor g = device.allocate("baseline logits", DType.F32, translated, vocabulary);
        Tensor r = device.allocate("reinforced logits", DType.F32, block.length, vocabulary)) {
      baseline.llama().logits(translation.tokens(), g);
      knowing.llama().logits(block, r);
      return GenericLabels.of(g, r, translation, GenericLabels.alphas(options.alpha()));
    }
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
