package org.lethe.unlearn;

import java.util.List;

/**
 * A block in generic words, and where each of its positions went.
 *
 * <p>A position stands for the prediction made there: the logits of row i tell what follows token
 * i. So {@code mapping[i] = j} says that what the baseline model predicts after translated token j
 * is what a model that never read the text would predict after original token i. Before a first
 * mention, that is the generic name; inside a name there is no such prediction, so nothing is
 * mapped; after its last token, it is what follows the generic name's last token.
 *
 * @param tokens (Tb) the translated block; Tb may exceed T
 * @param mapping (T) for each original position its translated one, or {@link #UNMAPPED}
 * @param forbidden (F) the first tokens of the stand-ins in use, each once
 * @param forbiddenAfter (F) the translated index p of the first token of the stand-in that first
 *     forbade it: {@code forbidden[k]} is in force at every translated position j &gt; p
 * @param matches what was translated, from left to right
 */
public record BlockTranslation(
    int[] tokens, int[] mapping, int[] forbidden, int[] forbiddenAfter, List<Match> matches) {
  /** The mapping of a position whose prediction is not trained. */
  public static final int UNMAPPED = -1;

  /**
   * An expression and its stand-in in a block.
   *
   * @param start original position of the expression's first token
   * @param length its tokens
   * @param translatedStart translated position of the stand-in's first token
   * @param translatedLength its tokens
   * @param repeated whether the block mentions the expression before
   */
  public record Match(
      String expression,
      String value,
      int start,
      int length,
      int translatedStart,
      int translatedLength,
      boolean repeated) {}
}
