package org.lethe.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SamplingTest {
  private static final int DRAWS = 200_000;

  // softmax: 0.1, 0.4, 0.2, 0.3
  private static final float[] LOGITS = {
    (float) Math.log(0.1), (float) Math.log(0.4), (float) Math.log(0.2), (float) Math.log(0.3)
  };

  @Test
  void drawsAsOftenAsTheProbabilitiesSay() {
    assertFrequencies(new Sampling(1, 1, 1), 0.1, 0.4, 0.2, 0.3);
  }

  @Test
  void temperatureIsAPowerOfTheProbabilities() {
    // p^2: 0.01, 0.16, 0.04, 0.09 of 0.3
    assertFrequencies(new Sampling(0.5, 1, 2), 0.01 / 0.3, 0.16 / 0.3, 0.04 / 0.3, 0.09 / 0.3);
  }

  @Test
  void topPKeepsTheFewestThatReachIt() {
    assertFrequencies(new Sampling(1, 0.65, 3), 0, 0.4 / 0.7, 0, 0.3 / 0.7);
    assertFrequencies(new Sampling(1, 0.75, 4), 0, 0.4 / 0.9, 0.2 / 0.9, 0.3 / 0.9);
    assertFrequencies(new Sampling(1, 1e-9, 5), 0, 1, 0, 0);
  }

  @Test
  void logitsOfAnySizeAreFine() {
    float[] large = {-3e38f, 3e38f, Float.NEGATIVE_INFINITY};
    var random = new SplittableRandom(1);
    for (int i = 0; i < 100; i++) {
      assertEquals(1, new Sampling(1, 1, 1).draw(large, random));
      assertEquals(1, new Sampling(1e-300, 0.9, 1).draw(large, random));
    }
  }

  private static void assertFrequencies(Sampling sampling, double... expected) {
    var random = new SplittableRandom(sampling.seed());
    int[] counts = new int[expected.length];
    for (int i = 0; i < DRAWS; i++) {
      counts[sampling.draw(LOGITS, random)]++;
    }
    for (int token = 0; token < expected.length; token++) {
      double p = expected[token];
      double deviation = Math.sqrt(p * (1 - p) / DRAWS);
      assertEquals(p, counts[token] / (double) DRAWS, 5 * deviation + 1e-12, "token " + token);
    }
  }

  @Test
  void temperatureZeroDrawsNothing() {
    assertTrue(Sampling.GREEDY.greedy());
    assertTrue(!new Sampling(1e-9, 1, 1).greedy());
  }

  @ParameterizedTest
  @CsvSource({
    "-1, 1, temperature",
    "NaN, 1, temperature",
    "Infinity, 1, temperature",
    "1, 0, top-p",
    "1, 1.1, top-p",
    "1, NaN, top-p"
  })
  void refusesWhatIsNoDistribution(double temperature, double topP, String named) {
    Refusals.refused(named, () -> new Sampling(temperature, topP, 1));
  }
}
