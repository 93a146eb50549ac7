package org.lethe.unlearn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** Dictionary, translation and labels against an independent implementation in Python. */
class ReferenceLabelsTest {
  private final GoldenLabels golden = GoldenLabels.load();

  @Test
  void translationsAreThoseOfThePythonReference() {
    for (GoldenLabels.Case c : golden.cases()) {
      BlockTranslation t = c.translate();
      assertEquals(
          c.pruned(),
          c.dictionary().pruned().stream().map(p -> p.anchor().expression()).toList(),
          c.toString());
      assertArrayEquals(c.translated(), t.tokens(), c.toString());
      assertArrayEquals(c.mapping(), t.mapping(), c.toString());
      assertEquals(c.forbiddenAt(), forbiddenAt(t), c.toString());
    }
  }

  private static List<Set<Integer>> forbiddenAt(BlockTranslation t) {
    return IntStream.range(0, t.tokens().length)
        .mapToObj(
            j -> {
              Set<Integer> tokens = new TreeSet<>();
              for (int k = 0; k < t.forbidden().length; k++) {
                if (j > t.forbiddenAfter()[k]) {
                  tokens.add(t.forbidden()[k]);
                }
              }
              return tokens;
            })
        .toList();
  }

  @Test
  void labelsAreThoseOfThePythonReference() {
    int labelled = 0;
    for (GoldenLabels.Case c : golden.casesWithLogits()) {
      BlockTranslation t = c.translate();
      for (int a = 0; a < c.labels().length; a++) {
        int[] labels = ReferenceLabels.of(c.baseline(), c.reinforced(), t, golden.alphas()[a]);
        assertArrayEquals(c.labels()[a], labels, c + ", " + LabelFile.KEYS.get(a));
        for (int label : labels) {
          labelled += label >= 0 ? 1 : 0;
        }
      }
    }
    assertTrue(labelled > 200, "labelled positions compared: " + labelled);
  }

  /** Three tokens that map to themselves; {@code forbidden} ones are so from position 1 on. */
  private static BlockTranslation threeTokens(int... forbidden) {
    int[] after = new int[forbidden.length];
    return new BlockTranslation(
        new int[] {0, 1, 2}, new int[] {0, 1, 2}, forbidden, after, List.of());
  }

  @Test
  void aTokenThatTheReinforcedModelLiftsLosesAlphaTimesTheLift() {
    double[][] g = {{3, 2.5, 0}, {3, 2.5, 0}, {0, 0, 0}};
    double[][] r = {{3.2, 1, 0}, {3.05, 1, 0}, {0, 0, 0}};
    // 3 - 5 * 0.2 < 2.5 < 3 - 5 * 0.05; a token that it lowers gains nothing
    assertArrayEquals(new int[] {-100, 1, 0}, ReferenceLabels.of(g, r, threeTokens(), 5));
    assertArrayEquals(new int[] {-100, 0, 0}, ReferenceLabels.of(g, r, threeTokens(), 2));
  }

  @Test
  void ofEqualScoresTheLowerTokenWins() {
    double[][] same = {{1, 2, 2}, {2, 1, 2}, {0, 0, 0}};
    assertArrayEquals(new int[] {-100, 1, 0}, ReferenceLabels.of(same, same, threeTokens(), 5));
  }

  @Test
  void forbiddenTokensFallToTheMeanOfTheRawLogits() {
    // Tokens 0 and 2 are forbidden from position 1 on; the raw mean there is 4.3, a tie. Were the
    // mean taken again after token 0 was raised to it, token 2 would get 5.7 and win.
    double[][] g = {{0, 3.9, 9}, {0, 3.9, 9}, {0, 0, 0}};
    assertArrayEquals(new int[] {-100, 2, 0}, ReferenceLabels.of(g, g, threeTokens(0, 2), 5));
    double[][] high = {{9, 3, 3}, {9, 3.5, -6}, {0, 0, 0}};
    assertArrayEquals(new int[] {-100, 0, 1}, ReferenceLabels.of(high, high, threeTokens(0), 5));
  }
}
