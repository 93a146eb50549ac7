package org.lethe.conformance;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.kernels.Kernels;
import org.lethe.kernels.Tensor;
import org.lethe.kernels.TestedDevices;

/** What METHOD.md asks of the optimizer's precision, over many steps. */
@Tag("kernels")
class AdamWTest {
  private static final int N = 1003;

  private final SplittableRandom random = new SplittableRandom(5);
  private final Device device = TestedDevices.openAny();

  @AfterEach
  void close() {
    device.close();
  }

  private float[] normal(int n, double scale) {
    float[] x = new float[n];
    for (int i = 0; i < n; i++) {
      x[i] = (float) (random.nextGaussian() * scale);
    }
    return x;
  }

  private Tensor full(String name, DType dtype, float value) {
    Tensor tensor = device.allocate(name, dtype, N);
    device.kernels().fill(tensor, value);
    return tensor;
  }

  private static Kernels.AdamW step(float learningRate, long step) {
    return new Kernels.AdamW(learningRate, 0.9f, 0.98f, 1e-8f, 0.01f, 1, step, 9);
  }

  @Test
  void halvesGoThroughTheVeryBitsOfFp32() {
    Kernels k = device.kernels();
    for (DType moments : Trials.REALS) {
      Tensor exact = device.of("exact", DType.F32, normal(N, 0.02), N);
      Tensor hi = device.allocate("hi", DType.BF16, N);
      Tensor lo = device.allocate("lo", DType.I16, N);
      k.split(hi, lo, exact);
      Tensor[] m = {full("m", moments, 0), full("m2", moments, 0)};
      Tensor[] v = {full("v", moments, 0), full("v2", moments, 0)};
      for (int s = 1; s <= 50; s++) {
        Tensor g = device.of("g", DType.BF16, normal(N, 1), N);
        k.adamw(exact, null, g, m[0], v[0], step(1e-5f, s), 0);
        k.adamw(hi, lo, g, m[1], v[1], step(1e-5f, s), 0);
      }
      Tensor joined = device.allocate("joined", DType.F32, N);
      k.join(joined, hi, lo);
      assertArrayEquals(exact.toFloats(), joined.toFloats(), "moments " + moments);
    }
  }

  @Test
  void stepsOfAMillionthMoveWeightsOfASixtyFourth() {
    Kernels k = device.kernels();
    Tensor exact = full("exact", DType.F32, 1 / 64f);
    Tensor hi = device.allocate("hi", DType.BF16, N);
    Tensor lo = device.allocate("lo", DType.I16, N);
    k.split(hi, lo, exact);
    Tensor g = full("g", DType.F32, 1);
    Tensor m = full("m", DType.F32, 0);
    Tensor v = full("v", DType.F32, 0);
    for (int s = 1; s <= 100; s++) {
      k.adamw(hi, lo, g, m, v, new Kernels.AdamW(1e-6f, 0.9f, 0.98f, 0, 0, 1, s, 1), 0);
    }
    k.join(exact, hi, lo);
    for (float w : exact.toFloats()) {
      assertEquals(1 / 64.0 - 100e-6, w, 100 * Math.ulp(1 / 64f), "100 steps of 1e-6 from 1/64");
    }
  }

  @Test
  void fp32StaysWithDoubleOverManySteps() {
    Kernels k = device.kernels();
    Tensor weight = device.of("weight", DType.F32, normal(N, 0.02), N);
    double[] w = doubles(weight.toFloats());
    double[] mReference = new double[N];
    double[] vReference = new double[N];
    Tensor m = full("m", DType.F32, 0);
    Tensor v = full("v", DType.F32, 0);
    for (int s = 1; s <= 100; s++) {
      Tensor g = device.of("g", DType.F32, normal(N, 1), N);
      Kernels.AdamW how = step(1e-3f, s);
      var next = Reference.adamw(w, doubles(g.toFloats()), mReference, vReference, how);
      w = next.weight();
      mReference = next.m();
      vReference = next.v();
      k.adamw(weight, null, g, m, v, how, 0);
    }
    float[] found = weight.toFloats();
    for (int i = 0; i < N; i++) {
      assertEquals(w[i], found[i], 1e-6, "weight " + i + " after 100 steps");
    }
  }

  private static double[] doubles(float[] x) {
    double[] y = new double[x.length];
    Arrays.setAll(y, i -> x[i]);
    return y;
  }

  @Test
  void bf16MomentsAreRoundedWithoutBias() {
    // v = 1 decays by 0.999: far below half a unit of bf16 (2^-9), so nearest would never move.
    Kernels k = device.kernels();
    int steps = 500;
    Tensor weight = full("weight", DType.F32, 0);
    Tensor g = full("g", DType.F32, 0);
    Tensor m = full("m", DType.BF16, 1);
    Tensor v = full("v", DType.BF16, 1);
    for (int s = 1; s <= steps; s++) {
      k.adamw(weight, null, g, m, v, new Kernels.AdamW(0, 0.999f, 0.999f, 1, 0, 1, s, 3), 0);
    }
    double expected = Math.pow(0.999, steps);
    for (Tensor moment : new Tensor[] {m, v}) {
      double[] x = doubles(moment.toFloats());
      double mean = Arrays.stream(x).average().orElseThrow();
      double deviation = Math.sqrt(Reference.sumOfSquares(x) / N - mean * mean);
      assertTrue(deviation > 0, "all elements are rounded alike");
      assertEquals(
          expected,
          mean,
          4 * deviation / Math.sqrt(N),
          "mean of %s after %d steps, four standard errors".formatted(moment, steps));
    }
  }

  @Test
  void momentsAreRoundedByElementStepAndSeed() {
    float[] first = rounded(1, 1, 0);
    assertArrayEquals(first, rounded(1, 1, 0), "the same");
    assertTrue(differing(first, rounded(2, 1, 0)) > N / 10, "another step");
    assertTrue(differing(first, rounded(1, 2, 0)) > N / 10, "another seed");
    float[] shifted = rounded(1, 1, 3);
    assertArrayEquals(
        Arrays.copyOfRange(first, 3, N), Arrays.copyOf(shifted, N - 3), "three elements on");
  }

  private float[] rounded(long step, long seed, long first) {
    Tensor weight = full("weight", DType.F32, 0);
    Tensor m = full("m", DType.BF16, 1);
    Tensor v = full("v", DType.BF16, 1);
    var how = new Kernels.AdamW(0, 0.9985f, 0.9985f, 1, 0, 1, step, seed);
    device.kernels().adamw(weight, null, full("g", DType.F32, 0), m, v, how, first);
    return m.toFloats();
  }

  private static int differing(float[] a, float[] b) {
    int n = 0;
    for (int i = 0; i < a.length; i++) {
      n += a[i] == b[i] ? 0 : 1;
    }
    return n;
  }

  @Test
  void anyPartitionOfTheParametersGivesTheSameBits() {
    float[] weights = normal(N, 1);
    float[] gradients = normal(N, 1);
    float[] moments = normal(N, 1);
    for (DType moment : Trials.REALS) {
      float[][] whole = inParts(weights, gradients, moments, moment, N);
      for (int cut : new int[] {1, 64, 500, 1002}) {
        float[][] parts = inParts(weights, gradients, moments, moment, cut);
        for (int i = 0; i < 3; i++) {
          assertArrayEquals(whole[i], parts[i], "cut at " + cut + ", moments " + moment);
        }
      }
    }
  }

  private float[][] inParts(float[] w, float[] g, float[] moments, DType moment, int cut) {
    Tensor weight = device.of("weight", DType.F32, w, N);
    Tensor gradient = device.of("gradient", DType.F32, g, N);
    Tensor m = device.of("m", moment, moments, N);
    Tensor v = full("v", moment, 0.5f);
    for (int[] part : new int[][] {{0, cut}, {cut, N - cut}}) {
      if (part[1] > 0) {
        device
            .kernels()
            .adamw(
                weight.rows(part[0], part[1]),
                null,
                gradient.rows(part[0], part[1]),
                m.rows(part[0], part[1]),
                v.rows(part[0], part[1]),
                step(1e-3f, 7),
                1000 + part[0]);
      }
    }
    return new float[][] {weight.toFloats(), m.toFloats(), v.toFloats()};
  }
}
