package org.lethe.conformance;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.Consumer;
import java.util.function.Supplier;
import java.util.function.ToLongFunction;
import org.jspecify.annotations.Nullable;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.kernels.DeviceException;
import org.lethe.kernels.Kernels;
import org.lethe.kernels.Tensor;

/**
 * One call of one operation: its operands, the call, and what must come of it. It can be run any
 * number of times, on any device, with its operands placed anywhere.
 */
final class Trial {
  /** A trial's name, and how to prepare it: the reference is computed only when it is run. */
  record Case(String operation, DType dtype, String title, Consumer<Trial> script) {
    Trial prepare() {
      var trial = new Trial(this);
      script.accept(trial);
      return trial;
    }

    @Override
    public String toString() {
      return operation + " " + dtype + " " + title;
    }
  }

  /**
   * What came of a run.
   *
   * @param digest of all results, to compare runs by
   * @param worst of all expectations
   * @param fault the first thing that is wrong, with shape, error and tolerance; null if nothing is
   */
  record Outcome(int digest, Deviation worst, @Nullable String fault) {}

  /** Measures a result, and says what is wrong with it if anything is. */
  private interface Expectation {
    Finding find();
  }

  private record Finding(Deviation deviation, @Nullable String fault) {}

  private static final double STRAY = 16;

  private final Case description;
  private final SplittableRandom random;
  private final List<Operand> operands = new ArrayList<>();
  private final List<Expectation> expectations = new ArrayList<>();
  private @Nullable Consumer<Kernels> call;
  private @Nullable ToLongFunction<Kernels> workspaceBytes;

  private Trial(Case description) {
    this.description = description;
    this.random = new SplittableRandom(description.toString().hashCode());
  }

  SplittableRandom random() {
    return random;
  }

  DType dtype() {
    return description.dtype;
  }

  // ---- operands ---------------------------------------------------------------------------------

  private Operand add(Operand operand) {
    operands.add(operand);
    return operand;
  }

  /** Standard normal numbers. */
  double[] normal(int n) {
    double[] x = new double[n];
    Arrays.setAll(x, i -> random.nextGaussian());
    return x;
  }

  /** Whole numbers from 0 up to, and without, {@code bound}. */
  int[] below(int bound, int n) {
    return random.ints(n, 0, bound).toArray();
  }

  /** An input of standard normal numbers. */
  Operand input(String name, DType dtype, long... shape) {
    return inputView(name, dtype, 0, shape);
  }

  /** An input whose rows lie {@code gap} elements apart. */
  Operand inputView(String name, DType dtype, int gap, long... shape) {
    return add(new Operand(name, dtype, Operand.Role.INPUT, gap, shape))
        .set(normal(Operand.elements(shape)));
  }

  Operand input(String name, int... values) {
    return add(new Operand(name, DType.I32, Operand.Role.INPUT, 0, values.length))
        .set(doubles(values));
  }

  /** An output, full of sentinels before the call. */
  Operand result(String name, DType dtype, long... shape) {
    return resultView(name, dtype, 0, shape);
  }

  Operand resultView(String name, DType dtype, int gap, long... shape) {
    return add(new Operand(name, dtype, Operand.Role.RESULT, gap, shape));
  }

  /** Standard normal numbers that the call changes. */
  Operand updated(String name, DType dtype, long... shape) {
    return updatedView(name, dtype, 0, shape);
  }

  Operand updatedView(String name, DType dtype, int gap, long... shape) {
    return add(new Operand(name, dtype, Operand.Role.UPDATED, gap, shape))
        .set(normal(Operand.elements(shape)));
  }

  /** Asks for as much workspace as the device says the call needs. */
  void workspace(ToLongFunction<Kernels> bytes) {
    workspaceBytes = bytes;
  }

  /** The workspace of the present run. */
  Tensor workspace() {
    return operands.getLast().on();
  }

  void call(Consumer<Kernels> kernels) {
    this.call = kernels;
  }

  // ---- expectations -----------------------------------------------------------------------------

  /** Within the operation's tolerance, norm-wise, and no element far astray. */
  void expect(Operand operand, double[] reference) {
    expect(operand, reference, 0);
  }

  /** The same, errors measured against elements of size {@code floor} at least. */
  void expect(Operand operand, double[] reference, double floor) {
    double tolerance = Tolerance.of(description.operation, description.dtype, operand.dtype);
    expect(operand.toString(), operand::found, reference, tolerance, floor);
  }

  void expect(Operand operand, int[] reference) {
    expect(operand, doubles(reference), 0);
  }

  void expect(
      String name, Supplier<double[]> found, double[] reference, double tolerance, double floor) {
    expectations.add(() -> compare(name, found.get(), reference, tolerance, floor));
  }

  /**
   * Every element within eight times the tolerance of its own size plus {@code floor}: where a few
   * large elements would hide the others in the norm.
   */
  void expectEach(Operand operand, double[] reference, double floor) {
    double tolerance = 8 * Tolerance.of(description.operation, description.dtype, operand.dtype);
    expectations.add(
        () -> {
          double[] found = operand.found();
          double worst = 0;
          String fault = null;
          for (int i = 0; i < reference.length; i++) {
            double allowed = tolerance * (Math.abs(reference[i]) + floor);
            double off = Math.abs(found[i] - reference[i]);
            if (off > allowed && fault == null) {
              fault = wrong(operand.toString(), i, found[i], reference[i], allowed);
            }
            double relative = off / allowed * tolerance;
            worst = relative > worst ? relative : worst; // a NaN is for the norm to judge
          }
          return new Finding(new Deviation(worst, tolerance), fault);
        });
  }

  void expectBits(Operand operand, int[] bits) {
    int mask = operand.dtype.bytes() == 4 ? -1 : 0xFFFF;
    expectations.add(
        () -> {
          int[] found = operand.foundBits();
          for (int i = 0; i < bits.length; i++) {
            if (found[i] != (bits[i] & mask)) {
              return inexact(
                  "%s[%d] has the bits %08x, not %08x"
                      .formatted(operand, i, found[i], bits[i] & mask),
                  0);
            }
          }
          return new Finding(Deviation.NONE, null);
        });
  }

  /** Two results that are the same, bit for bit. */
  void expectSameBits(Operand one, Operand other) {
    expectations.add(
        () -> {
          int[] bits = one.foundBits();
          int at = Arrays.mismatch(bits, other.foundBits());
          return at < 0
              ? new Finding(Deviation.NONE, null)
              : inexact(
                  "%s[%d] has the bits %08x, %s %08x"
                      .formatted(one, at, bits[at], other, other.foundBits()[at]),
                  0);
        });
  }

  private static Finding compare(
      String name, double[] found, double[] reference, double tolerance, double floor) {
    if (found.length != reference.length) {
      throw new IllegalStateException(
          name + " has " + found.length + " elements, its reference " + reference.length);
    }
    double error = 0;
    double norm = 0;
    int finite = 0;
    for (int i = 0; i < found.length; i++) {
      boolean same = Double.compare(found[i], reference[i]) == 0;
      if (!same && (tolerance == 0 || !Double.isFinite(reference[i] - found[i]))) {
        return inexact(wrong(name, i, found[i], reference[i], tolerance), tolerance);
      }
      if (Double.isFinite(reference[i])) {
        error += (found[i] - reference[i]) * (found[i] - reference[i]);
        norm += reference[i] * reference[i];
        finite++;
      }
    }
    double size = Math.max(Math.sqrt(norm / Math.max(1, finite)), floor);
    double relative = error == 0 ? 0 : Math.sqrt(error / finite) / size;
    var deviation = new Deviation(relative, tolerance);
    if (!(relative <= tolerance)) {
      return new Finding(
          deviation,
          "%s is off by ||a - b|| / ||b|| = %.3g, tolerance %.3g"
              .formatted(name, relative, tolerance));
    }
    for (int i = 0; i < found.length; i++) {
      double off = Math.abs(found[i] - reference[i]);
      double unit = Math.abs(reference[i]) + size;
      if (Double.isFinite(reference[i]) && off > STRAY * tolerance * unit) {
        double allowed = STRAY * tolerance;
        return new Finding(
            new Deviation(off / unit, allowed),
            wrong(name, i, found[i], reference[i], allowed * unit));
      }
    }
    return new Finding(deviation, null);
  }

  private static Finding inexact(String fault, double tolerance) {
    return new Finding(new Deviation(Double.POSITIVE_INFINITY, tolerance), fault);
  }

  private static String wrong(String name, int i, double found, double reference, double allowed) {
    return "%s[%d] is %s, the reference %s, allowed %.3g"
        .formatted(name, i, found, reference, allowed);
  }

  static double[] doubles(int... values) {
    return Arrays.stream(values).asDoubleStream().toArray();
  }

  // ---- running ----------------------------------------------------------------------------------

  /** Runs the call and looks at what came of it; what the device refuses is a fault as well. */
  Outcome run(Device device, Placement placement) {
    var regions = new ArrayList<Placement.Region>();
    try {
      if (workspaceBytes != null) {
        operands.removeIf(o -> o.role == Operand.Role.WORKSPACE);
        long bytes = Math.max(1, workspaceBytes.applyAsLong(device.kernels()));
        add(new Operand("workspace", DType.BYTE, Operand.Role.WORKSPACE, 0, bytes));
      }
      for (Operand operand : operands) {
        Placement.Region region = placement.region(device, operand);
        regions.add(region);
        region.write(operand);
      }
      if (call == null) {
        throw new IllegalStateException("nothing to call");
      }
      call.accept(device.kernels());
      device.synchronize();
      int digest = 0;
      for (int i = 0; i < regions.size(); i++) {
        Operand operand = operands.get(i);
        regions.get(i).read(operand);
        if (operand.role != Operand.Role.WORKSPACE) {
          digest = 31 * digest + Arrays.hashCode(operand.after);
        }
      }
      return judge(digest);
    } catch (WrongResult | DeviceException | IllegalArgumentException e) {
      return new Outcome(0, Deviation.NONE, String.valueOf(e.getMessage()));
    } finally {
      regions.forEach(Placement.Region::close);
    }
  }

  private Outcome judge(int digest) {
    Deviation worst = Deviation.NONE;
    String fault = null;
    for (Expectation expectation : expectations) {
      Finding finding = expectation.find();
      worst = worst.worse(finding.deviation);
      fault = fault == null ? finding.fault : fault;
    }
    return new Outcome(digest, worst, fault);
  }
}
