package org.lethe.conformance;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.BiPredicate;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;

/** Whether a library computes what {@code lethe.h} says: every operation, in many shapes. */
public final class Conformance {
  private Conformance() {}

  /**
   * What the trials of one operation in one dtype came to.
   *
   * @param worst the deviation that came nearest to its tolerance, or went furthest past it
   */
  public record Verdict(
      String operation, DType dtype, int trials, Deviation worst, List<Failure> failures) {
    public Verdict {
      failures = List.copyOf(failures);
    }

    public boolean holds() {
      return failures.isEmpty();
    }
  }

  /**
   * A trial that failed.
   *
   * @param trial its shapes and what else tells it from the others
   * @param fault what is wrong: which result, its error and the tolerance; or what the device said
   */
  public record Failure(String trial, String fault) {}

  /** Follows the work. */
  public interface Listener {
    /** The trials of an operation come next; should one end the process, it was this one's. */
    void begins(String operation, DType dtype, int done, int all);

    /** {@code done} trials of {@code all} are done. */
    void tried(int done, int all);
  }

  /**
   * The names of all operations that have trials, in the order of {@code lethe.h}.
   *
   * @param dtype what they must have trials in; null for any
   */
  public static Set<String> operations(@Nullable DType dtype) {
    return Trials.all()
        .filter(c -> dtype == null || c.dtype() == dtype)
        .map(Trial.Case::operation)
        .collect(Collectors.toCollection(LinkedHashSet::new));
  }

  /**
   * Runs the trials of what {@code wanted} takes, operation by operation in the order of {@code
   * lethe.h}. A kernel that writes or reads where it must not can end the process.
   */
  public static List<Verdict> verify(
      Device device, BiPredicate<String, DType> wanted, Listener listener) {
    Map<String, List<Trial.Case>> groups =
        Trials.all()
            .filter(c -> wanted.test(c.operation(), c.dtype()))
            .collect(
                Collectors.groupingBy(
                    c -> c.operation() + " " + c.dtype(), LinkedHashMap::new, Collectors.toList()));
    int all = groups.values().stream().mapToInt(List::size).sum();
    int done = 0;
    var verdicts = new ArrayList<Verdict>();
    for (List<Trial.Case> cases : groups.values()) {
      String operation = cases.getFirst().operation();
      DType dtype = cases.getFirst().dtype();
      listener.begins(operation, dtype, done, all);
      Deviation worst = Deviation.NONE;
      var failures = new ArrayList<Failure>();
      for (Trial.Case c : cases) {
        Attempt attempt = attempt(device, c);
        worst = worst.worse(attempt.worst);
        if (attempt.fault != null) {
          failures.add(new Failure(c.title(), attempt.fault));
        }
        listener.tried(++done, all);
      }
      verdicts.add(new Verdict(operation, dtype, cases.size(), worst, failures));
    }
    return List.copyOf(verdicts);
  }

  /**
   * What came of a trial.
   *
   * @param digest of all bits that the first run left
   * @param fault what is wrong, null if nothing is
   */
  record Attempt(int digest, Deviation worst, @Nullable String fault) {}

  /**
   * Right, with nothing else touched, and with the same bits however often it runs; wherever, too,
   * where all of it is our code: a GPU's library of matrix products chooses by alignment. On {@code
   * others}, right as well.
   */
  static Attempt attempt(Device device, Trial.Case c, Device... others) {
    Trial trial = c.prepare();
    Trial.Outcome first = trial.run(device, Placement.DEVICE);
    int digest = first.digest();
    Deviation worst = first.worst();
    if (first.fault() != null) {
      return new Attempt(digest, worst, first.fault());
    }
    for (Placement placement : Placement.on(device)) {
      if (!device.hostAddressable()) {
        first = trial.run(device, placement);
      }
      Trial.Outcome again = trial.run(device, placement);
      worst = worst.worse(again.worst());
      if (again.fault() != null) {
        return new Attempt(digest, worst, again.fault() + " (operands " + placement + ")");
      }
      if (again.digest() != first.digest()) {
        return new Attempt(digest, worst, "other bits when repeated, operands " + placement);
      }
    }
    for (Device other : others) {
      Trial.Outcome there = trial.run(other, Placement.DEVICE);
      worst = worst.worse(there.worst());
      if (there.fault() != null) {
        return new Attempt(digest, worst, there.fault() + " (on " + other.describe() + ")");
      }
    }
    return new Attempt(digest, worst, null);
  }
}
