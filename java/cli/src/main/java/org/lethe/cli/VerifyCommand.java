package org.lethe.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.lethe.conformance.Conformance;
import org.lethe.conformance.Conformance.Failure;
import org.lethe.conformance.Conformance.Verdict;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** {@code lethe verify}. */
@Command(
    name = "verify",
    mixinStandardHelpOptions = true,
    description = {
      "Holds every operation of a library of kernels to a reference in double: right within its tolerance, nothing else "
          + "written, the same bits wherever its operands lie and however often it runs. Exits 1 if one fails.",
      "Operands lie at the edge of guard pages: a kernel that reads or writes past one ends the process. Each operation is "
          + "named before it runs, so the last one named is the culprit; --filter then leaves it alone with its trials."
    },
    footer = {
      "",
      "Examples:",
      "  lethe verify --device cpu",
      "  lethe verify --library build/libmine.so --filter 'swiglu,attention*' --dtype bf16"
    })
final class VerifyCommand implements Callable<Integer> {
  @Option(
      names = "--library",
      paramLabel = "FILE",
      description = "a library that implements native/include/lethe.h (default: Lethe's own)")
  @Nullable Path library;

  @Option(
      names = "--filter",
      split = ",",
      paramLabel = "OPERATION",
      description = "only these operations; * stands for anything")
  List<String> filter = List.of("*");

  @Option(
      names = "--dtype",
      paramLabel = "TYPE",
      description = "only bf16 or only f32 (default: both)")
  TypeOption.@Nullable Type type;

  @Option(names = "--json", paramLabel = "FILE", description = "write all of it there as JSON")
  @Nullable Path json;

  @Mixin DeviceOption device = new DeviceOption();
  @Spec CommandSpec spec;

  @SuppressWarnings("NullAway.Init") // picocli fills the fields
  VerifyCommand() {}

  @Override
  public Integer call() throws IOException {
    checkFilter();
    PrintWriter out = spec.commandLine().getOut();
    try (Device opened = device.open(library);
        var progress = new Progress()) {
      out.printf("device %s, %s%n", opened.name(), opened.library());
      out.flush();
      List<Verdict> verdicts = Conformance.verify(opened, this::isWanted, following(progress));
      progress.end();
      table(out, verdicts);
      if (json != null) {
        Files.writeString(json, Json.text(object(opened, verdicts)) + "\n");
      }
      return verdicts.stream().allMatch(Verdict::holds) ? 0 : Main.FAILED;
    }
  }

  private boolean isWanted(String operation, DType dtype) {
    return (type == null || type.dtype() == dtype)
        && filter.stream().anyMatch(pattern -> matches(pattern, operation));
  }

  private static boolean matches(String pattern, String operation) {
    return operation.matches("\\Q" + pattern.replace("*", "\\E.*\\Q") + "\\E");
  }

  /** Each pattern names an operation that has trials: nothing to try is nothing that holds. */
  private void checkFilter() {
    Set<String> operations = Conformance.operations(type == null ? null : type.dtype());
    for (String pattern : filter) {
      if (operations.stream().noneMatch(operation -> matches(pattern, operation))) {
        throw new ParameterException(
            spec.commandLine(),
            "there is no operation '%s'; there are: %s"
                .formatted(pattern, String.join(", ", operations)));
      }
    }
  }

  private static Conformance.Listener following(Progress progress) {
    return new Conformance.Listener() {
      @Override
      public void begins(String operation, DType dtype, int done, int all) {
        if (done == 0) {
          progress.begin("verify", "trials", 0, all);
        }
        progress.next(done, all, operation + " " + dtype);
      }

      @Override
      public void tried(int done, int all) {
        progress.step(done);
      }
    };
  }

  // ---- what is printed --------------------------------------------------------------------------

  private static void table(PrintWriter out, List<Verdict> verdicts) {
    String row = "%-20s %-5s %6s %10s %10s  %s%n";
    out.printf(row, "operation", "dtype", "trials", "error", "tolerance", "verdict");
    for (Verdict v : verdicts) {
      String verdict = v.holds() ? "holds" : "FAILS in " + v.failures().size();
      out.printf(
          row,
          v.operation(),
          v.dtype(),
          v.trials(),
          number(v.worst().error()),
          number(v.worst().tolerance()),
          verdict);
    }
    for (Verdict v : verdicts) {
      byFault(v).forEach((fault, trials) -> failure(out, v, fault, trials));
    }
    int trials = verdicts.stream().mapToInt(Verdict::trials).sum();
    int failed = verdicts.stream().mapToInt(v -> v.failures().size()).sum();
    out.printf(failed == 0 ? "all %2$d trials hold%n" : "%d of %d trials fail%n", failed, trials);
  }

  /** A fault that trials share word for word, such as a missing function, is said once. */
  private static Map<String, List<String>> byFault(Verdict verdict) {
    return verdict.failures().stream()
        .collect(
            Collectors.groupingBy(
                Failure::fault,
                LinkedHashMap::new,
                Collectors.mapping(Failure::trial, Collectors.toList())));
  }

  private static void failure(PrintWriter out, Verdict v, String fault, List<String> trials) {
    String others = trials.size() == 1 ? "" : " and %d more".formatted(trials.size() - 1);
    out.printf("%s %s, %s%s: %s%n", v.operation(), v.dtype(), trials.getFirst(), others, fault);
  }

  private static String number(double value) {
    return value == 0 ? "0" : Double.isInfinite(value) ? "wrong" : "%.1e".formatted(value);
  }

  private Map<String, Object> object(Device opened, List<Verdict> verdicts) {
    var object = new LinkedHashMap<String, Object>();
    object.put("device", opened.name());
    object.put("library", opened.library().toString());
    object.put("description", Json.parsed(opened.describe()));
    object.put("holds", verdicts.stream().allMatch(Verdict::holds));
    object.put("operations", verdicts.stream().map(VerifyCommand::object).toList());
    return object;
  }

  private static Map<String, @Nullable Object> object(Verdict v) {
    var object = new LinkedHashMap<String, @Nullable Object>();
    object.put("operation", v.operation());
    object.put("dtype", v.dtype().toString().toLowerCase(Locale.ROOT));
    object.put("trials", v.trials());
    object.put("error", Json.number(v.worst().error()));
    object.put("tolerance", v.worst().tolerance());
    object.put("holds", v.holds());
    object.put("failures", v.failures());
    return object;
  }
}
