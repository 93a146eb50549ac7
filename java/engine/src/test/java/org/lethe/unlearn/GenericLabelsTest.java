package org.lethe.unlearn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.kernels.Tensor;

class GenericLabelsTest {
  private static Tensor logits(Device device, String name, DType dtype, double[][] rows) {
    float[] values = new float[rows.length * rows[0].length];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) rows[i / rows[0].length][i % rows[0].length];
    }
    return device.of(name, dtype, values, rows.length, rows[0].length);
  }

  private static BlockTranslation untranslated(int length) {
    int[] same = IntStream.range(0, length).toArray();
    return new BlockTranslation(same, same, new int[0], new int[0], List.of());
  }

  @Test
  void alphasComeInTheOrderOfTheFilesKeys() {
    assertEquals(List.of("labels", "labels_0.5", "labels_2"), LabelFile.KEYS);
    assertArrayEquals(new float[] {5, 2.5f, 10}, GenericLabels.alphas(5));
  }

  /** The golden logits are exact in both dtypes, and so is every step in fp32. */
  @ParameterizedTest
  @EnumSource(names = {"F32", "BF16"})
  void labelsAreThoseOfThePythonReference(DType dtype) {
    var golden = GoldenLabels.load();
    try (Device device = Device.open("cpu")) {
      for (GoldenLabels.Case c : golden.casesWithLogits()) {
        try (Tensor baseline = logits(device, "baseline", dtype, c.baseline());
            Tensor reinforced = logits(device, "reinforced", dtype, c.reinforced())) {
          int[][] labels = GenericLabels.of(baseline, reinforced, c.translate(), golden.alphas());
          for (int a = 0; a < labels.length; a++) {
            assertArrayEquals(c.labels()[a], labels[a], c + ", " + LabelFile.KEYS.get(a));
          }
        }
      }
      assertEquals(0, device.allocatedBytes(), "nothing of the call stays");
    }
  }

  /** Against the reference in double, where rounding could only matter in a near tie. */
  @ParameterizedTest
  @ValueSource(ints = {1, 2, 63, 64, 65, 1000, 49152})
  void labelsOfRandomLogitsAreThoseOfTheReferenceInDouble(int vocabulary) {
    var random = new SplittableRandom(vocabulary);
    int length = 33;
    double[][] g = new double[length + 4][vocabulary];
    double[][] r = new double[length][vocabulary];
    for (double[][] rows : List.of(g, r)) {
      for (double[] row : rows) {
        Arrays.setAll(row, v -> (float) (4 * random.nextDouble(-1, 1)));
      }
    }
    int[] mapping = new int[length];
    Arrays.setAll(mapping, i -> i % 5 == 3 ? BlockTranslation.UNMAPPED : i + i / 8);
    int[] forbidden = random.ints(6, 0, vocabulary).toArray();
    int[] after = {-1, 0, 5, 20, 33, 36};
    var translation = new BlockTranslation(new int[g.length], mapping, forbidden, after, List.of());

    float[] alphas = GenericLabels.alphas(5);
    int differing = 0;
    try (Device device = Device.open("cpu");
        Tensor baseline = logits(device, "baseline", DType.F32, g);
        Tensor reinforced = logits(device, "reinforced", DType.F32, r)) {
      int[][] labels = GenericLabels.of(baseline, reinforced, translation, alphas);
      for (int a = 0; a < alphas.length; a++) {
        int[] expected = ReferenceLabels.of(g, r, translation, alphas[a]);
        for (int i = 0; i < length; i++) {
          differing += expected[i] == labels[a][i] ? 0 : 1;
        }
      }
    }
    assertEquals(0, differing, "labels that differ, of " + alphas.length * length);
  }

  @Test
  void aNanIsAnErrorWithItsPosition() {
    double[][] good = {{1, 2}, {1, 2}, {1, 2}};
    double[][] bad = {{1, 2}, {Double.NaN, 2}, {1, 2}};
    try (Device device = Device.open("cpu");
        Tensor baseline = logits(device, "baseline", DType.F32, good);
        Tensor reinforced = logits(device, "reinforced", DType.F32, bad)) {
      var error =
          assertThrows(
              ArithmeticException.class,
              () -> GenericLabels.of(baseline, reinforced, untranslated(3), new float[] {5}));
      String message = String.valueOf(error.getMessage());
      assertTrue(message.startsWith("the logits of position 1 hold a NaN"), message);
    }
  }

  @Test
  void logitsOfAnotherLengthAreRefused() {
    double[][] rows = {{1, 2}, {1, 2}};
    try (Device device = Device.open("cpu");
        Tensor baseline = logits(device, "baseline", DType.F32, rows);
        Tensor reinforced = logits(device, "reinforced", DType.F32, rows)) {
      var error =
          assertThrows(
              IllegalArgumentException.class,
              () -> GenericLabels.of(baseline, reinforced, untranslated(3), new float[] {5}));
      String message = String.valueOf(error.getMessage());
      assertTrue(message.startsWith("a block of 3 tokens, 3 translated, takes"), message);
    }
  }
}
