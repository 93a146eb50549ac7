package org.lethe.conformance;

import java.util.Arrays;
import java.util.SplittableRandom;
import org.lethe.kernels.DType;

/**
 * Fill, convert, split, join, rows by index, the embedding: numbers that move and hardly change.
 */
final class MovingTrials {
  private MovingTrials() {}

  /** Floats with something to get wrong: zeros, denormals, ties of rounding, limits, NaNs. */
  private static final int[] BITS = {
    0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x007fffff, 0x00800000, 0x00008000, 0x00007fff,
    0x3f800000, 0x3f807fff, 0x3f808000, 0x3f808001, 0x3f818000, 0x3f818001, 0xbf808000, 0xbf818000,
    0x3c800000, 0x3c8007ff, 0x7f7fffff, 0x7f7f8000, 0x7f7f7fff, 0xff7fffff, 0xff7f8000, 0x7f800000,
    0xff800000, 0x7fc00000, 0xffc00000, 0x7f800001, 0xff800001, 0x7fffffff, 0xffffffff, 0x7f80ffff,
    0x7f808000, 0x7fbfffff, 0xffbf8000, 0x7fff8000, 0x7fff7fff, 0x0000ffff, 0x00010000, 0xffff8000
  };

  /** The interesting patterns and random ones, n in all. */
  static int[] bits(SplittableRandom random, int n) {
    int[] bits = new int[n];
    int from = random.nextInt(BITS.length);
    Arrays.setAll(bits, i -> i < BITS.length ? BITS[(from + i) % BITS.length] : random.nextInt());
    return bits;
  }

  static void addTo(Trials trials) {
    fill(trials);
    convert(trials);
    splitAndJoin(trials);
    rows(trials);
    embedding(trials);
  }

  private static void fill(Trials trials) {
    for (int n : Trials.SIZES) {
      for (float value : new float[] {0, -0f, 1 / 3f, Float.NaN, Float.NEGATIVE_INFINITY}) {
        trials.addForReals(
            "fill",
            "n=%d value=%s".formatted(n, value),
            (t, dtype) -> {
              Operand x = t.result("x", dtype, n);
              t.call(k -> k.fill(x.on(), value));
              double[] expected = new double[n];
              Arrays.fill(
                  expected, dtype == DType.F32 ? value : DType.fromBf16(DType.toBf16(value)));
              t.expect(x, expected);
            });
      }
    }
  }

  private static void convert(Trials trials) {
    for (DType from : Trials.REALS) {
      for (DType to : Trials.REALS) {
        for (int n : Trials.SIZES) {
          trials.add(
              "convert",
              from,
              "to %s n=%d".formatted(to, n),
              t -> {
                Operand source = t.input("source", from, n).setBits(bits(t.random(), n));
                Operand target = t.result("target", to, n);
                t.call(k -> k.convert(target.on(), source.on()));
                double[] expected = source.values();
                if (to == DType.BF16) {
                  Arrays.setAll(expected, i -> DType.fromBf16(DType.toBf16((float) expected[i])));
                }
                t.expect(target, expected);
              });
        }
      }
    }
  }

  private static void splitAndJoin(Trials trials) {
    for (int n : Trials.SIZES) {
      trials.add(
          "split",
          DType.F32,
          "n=" + n,
          t -> {
            int[] bits = bits(t.random(), n);
            Operand x = t.input("x", DType.F32, n).setBits(bits);
            Operand hi = t.result("hi", DType.BF16, n);
            Operand lo = t.result("lo", DType.I16, n);
            t.call(k -> k.split(hi.on(), lo.on(), x.on()));
            t.expectBits(hi, high(bits));
            t.expectBits(lo, bits);
          });
      trials.add(
          "join",
          DType.F32,
          "n=" + n,
          t -> {
            int[] bits = bits(t.random(), n);
            Operand hi = t.input("hi", DType.BF16, n).setBits(high(bits));
            Operand lo = t.input("lo", DType.I16, n).setBits(bits);
            Operand x = t.result("x", DType.F32, n);
            t.call(k -> k.join(x.on(), hi.on(), lo.on()));
            t.expectBits(x, bits);
          });
    }
  }

  /** (bits + 0x8000) >> 16; the low half is then the low 16 bits as they are. */
  static int[] high(int[] bits) {
    return Arrays.stream(bits).map(b -> (b + 0x8000) >>> 16).toArray();
  }

  private static void rows(Trials trials) {
    for (int rows : new int[] {1, 3, 65}) {
      for (int width : Trials.SIZES) {
        String title = "rows=%d of %d width=%d".formatted(rows, rows + 4, width);
        trials.addForReals(
            "gather_rows",
            title,
            (t, dtype) -> {
              Operand source =
                  t.input("source", dtype, rows + 4, width)
                      .setBits(bits(t.random(), (rows + 4) * width));
              int[] index = t.below(rows + 4, rows);
              Operand indices = t.input("index", index);
              Operand target = t.result("target", dtype, rows, width);
              t.call(k -> k.gatherRows(target.on(), source.on(), indices.on()));
              t.expect(target, Reference.gatherRows(source.values(), index, width));
            });
        trials.addForReals(
            "scatter_rows",
            title,
            (t, dtype) -> {
              Operand source =
                  t.input("source", dtype, rows, width).setBits(bits(t.random(), rows * width));
              int[] index = t.random().ints(0, rows + 4).distinct().limit(rows).toArray();
              Operand indices = t.input("index", index);
              Operand target = t.result("target", dtype, rows + 4, width);
              t.call(k -> k.scatterRows(target.on(), source.on(), indices.on()));
              t.expect(target, Reference.scatterRows(source.values(), index, rows + 4, width));
            });
      }
    }
  }

  private static void embedding(Trials trials) {
    for (int N : new int[] {1, 3, 65, 200}) {
      for (int d : Trials.SIZES) {
        embedding(trials, N, 7, d);
      }
    }
    // tokens of three bytes, several tiles of them, where a GPU sorts by digits
    embedding(trials, 2500, 70001, 1);
  }

  private static void embedding(Trials trials, int N, int V, int d) {
    String title = "N=%d V=%d d=%d".formatted(N, V, d);
    trials.addForReals(
        "embedding",
        title,
        (t, dtype) -> {
          Operand table = t.input("table", dtype, V, d);
          int[] tokens = t.below(V, N);
          Operand tokensIn = t.input("tokens", tokens);
          Operand out = t.result("out", dtype, N, d);
          t.call(k -> k.embedding(out.on(), table.on(), tokensIn.on()));
          t.expect(out, Reference.gatherRows(table.values(), tokens, d));
        });
    for (DType gradient : Trials.REALS) {
      trials.addForReals(
          "embedding_backward",
          title + " into " + gradient,
          (t, dtype) -> {
            Operand dTable = t.updated("d_table", gradient, V, d);
            Operand dOut = t.input("d_out", dtype, N, d);
            int[] tokens = t.below(V, N);
            Operand tokensIn = t.input("tokens", tokens);
            t.call(k -> k.embeddingBackward(dTable.on(), dOut.on(), tokensIn.on()));
            t.expect(
                dTable, Reference.embeddingBackward(dTable.values(), dOut.values(), tokens, d));
          });
    }
  }
}
