package org.lethe.conformance;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.lethe.kernels.DType;

/** All cases of all operations, in the order of {@code lethe.h}. */
final class Trials {
  /** Sizes on, just under and just over what vectors and tiles are made of. */
  static final List<Integer> SIZES = List.of(1, 2, 3, 63, 64, 65, 127, 1000);

  static final List<DType> REALS = List.of(DType.F32, DType.BF16);

  private final List<Trial.Case> cases = new ArrayList<>();

  private Trials() {}

  static Stream<Trial.Case> all() {
    var trials = new Trials();
    MovingTrials.addTo(trials);
    TransformerTrials.addTo(trials);
    PackedTrials.addTo(trials);
    AttentionTrials.addTo(trials);
    LossTrials.addTo(trials);
    OptimizerTrials.addTo(trials);
    return trials.cases.stream()
        .sorted(
            Comparator.comparing((Trial.Case c) -> Tolerance.of(c.operation()))
                .thenComparing(Trial.Case::dtype));
  }

  void add(String operation, DType dtype, String title, Consumer<Trial> script) {
    cases.add(new Trial.Case(operation, dtype, title, script));
  }

  /** The script of a case for each real dtype. */
  interface Script {
    void prepare(Trial trial, DType dtype);
  }

  void addForReals(String operation, String title, Script script) {
    for (DType dtype : REALS) {
      add(operation, dtype, title, t -> script.prepare(t, dtype));
    }
  }
}
