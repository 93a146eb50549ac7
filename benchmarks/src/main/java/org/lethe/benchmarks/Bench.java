package org.lethe.benchmarks;

import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.lethe.kernels.Device;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.format.OutputFormat;
import org.openjdk.jmh.runner.format.OutputFormatFactory;
import org.openjdk.jmh.runner.options.ChainedOptionsBuilder;
import org.openjdk.jmh.runner.options.CommandLineOptionException;
import org.openjdk.jmh.runner.options.CommandLineOptions;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.runner.options.TimeValue;
import org.openjdk.jmh.runner.options.VerboseMode;
import tools.jackson.core.JacksonException;

/** {@code ./lethe bench}: runs benchmarks, prints one table, and holds them against a baseline. */
public final class Bench {
  private static final String USAGE =
      """
      usage: lethe bench [--filter REGEX] [--device NAME] [--model M] [--threads N] [--quick] [--json FILE]
                         [--against BASELINE.json [--threshold 5%]] [JMH's options: -prof gc, -f 3, -p sizes=ODD, -h ...]
        --filter REGEX   the benchmarks whose Class.method has a match; all without it
        --device NAME    what computes: cpu (the default), or another of Lethe's devices
        --model M        whole passes with this model (a Hugging Face directory or a .gguf); random weights without it
        --threads N      threads of the device
        --quick          four kernels at SmolLM2's sizes in BF16, in a minute: what the gate is proven with
        --json FILE      writes every measurement
        --against FILE   compares with what --json wrote, on this machine: exits 1 if anything is slower by more than
        --threshold P    5% by default
      """;

  /** The subset of {@code --quick}, and its parameters. */
  private static final String QUICK = "(MatrixProduct|Attention|SwiGlu|CrossEntropy)\\.forward$";

  /**
   * How often what seems slower is measured again before it is called slower, and after how long.
   */
  private static final int DOUBTS = 4;

  private static final Duration PAUSE = Duration.ofSeconds(20);

  /** So many that one odd process among them does not move an end of the 99% interval. */
  private static final int FORKS = 9;

  /**
   * Short ones, so many that moments in which others had the core are a few of them: their median
   * passes over those.
   */
  private static final int ITERATIONS = 12;

  private static final Map<String, String> QUICK_PARAMETERS =
      Map.of("sizes", "SMOLLM2", "dtype", "BF16", "product", "GATE_UP");

  private @Nullable String filter;
  private @Nullable Path json;
  private @Nullable Path against;
  private double threshold = 0.05;
  private boolean quick;
  private final Map<String, String> settings = new LinkedHashMap<>();
  private final List<String> jmh = new ArrayList<>();

  private Bench() {}

  /** Runs; exits 1 on a slowdown, or where a benchmark fails, 2 on a wrong command line. */
  public static void main(String[] arguments) {
    int status;
    try {
      status = parse(arguments).run();
    } catch (IllegalArgumentException | CommandLineOptionException e) {
      System.err.println("lethe bench: " + e.getMessage() + "\n\n" + USAGE);
      status = 2;
    } catch (IOException | RunnerException e) {
      System.err.println("lethe bench: " + e.getMessage());
      status = 1;
    }
    System.exit(status);
  }

  static Bench parse(String[] arguments) {
    var bench = new Bench();
    for (int i = 0; i < arguments.length; i++) {
      String option = arguments[i];
      switch (option) {
        case "--quick" -> bench.quick = true;
        case "--help" -> throw new IllegalArgumentException("its options, beside JMH's (-h)");
        case "--filter",
            "--device",
            "--model",
            "--threads",
            "--json",
            "--against",
            "--threshold" -> {
          if (i + 1 == arguments.length) {
            throw new IllegalArgumentException(option + " needs a value");
          }
          bench.set(option, arguments[++i]);
        }
        default -> bench.jmh.add(option);
      }
    }
    return bench;
  }

  private void set(String option, String value) {
    switch (option) {
      case "--filter" -> filter = value;
      case "--device" -> settings.put(Settings.DEVICE, device(value));
      case "--model" -> settings.put(Settings.MODEL, existing(value).toString());
      case "--threads" -> settings.put(Settings.THREADS, String.valueOf(Integer.parseInt(value)));
      case "--json" -> json = Path.of(value);
      case "--against" -> against = existing(value);
      case "--threshold" -> threshold = share(value);
      default -> throw new AssertionError(option);
    }
  }

  private static String device(String name) {
    if (!Device.names().contains(name)) {
      throw new IllegalArgumentException(
          "there is no device '" + name + "'; there is: " + String.join(", ", Device.names()));
    }
    return name;
  }

  private static Path existing(String file) {
    Path path = Path.of(file).toAbsolutePath();
    if (!Files.exists(path)) {
      throw new IllegalArgumentException("there is no " + path);
    }
    return path;
  }

  /** 5% or 0.05. */
  static double share(String text) {
    try {
      return text.endsWith("%")
          ? Double.parseDouble(text.substring(0, text.length() - 1)) / 100
          : Double.parseDouble(text);
    } catch (NumberFormatException e) {
      throw new IllegalArgumentException("the threshold '" + text + "' is no share such as 5%", e);
    }
  }

  double threshold() {
    return threshold;
  }

  List<String> jmhArguments() {
    return jmh;
  }

  private int run() throws IOException, RunnerException, CommandLineOptionException {
    Results baseline = against == null ? null : read(against);
    var commandLine = new CommandLineOptions(jmh.toArray(String[]::new));
    if (commandLine.shouldHelp()) {
      System.out.println(USAGE);
      commandLine.showHelp();
      return 0;
    }
    if (commandLine.shouldListProfilers()) {
      commandLine.listProfilers();
      return 0;
    }
    if (commandLine.shouldList() || commandLine.shouldListWithParams()) {
      new Runner(options(commandLine, null).build()).list();
      return 0;
    }
    if (baseline != null) {
      requireSame(baseline.about(), about());
    }
    beginLog();
    Results results = measure(commandLine, null);
    System.out.print(Table.of(results));
    if (json != null) {
      Files.write(json, results.json());
    }
    return baseline == null ? 0 : judge(commandLine, baseline, results);
  }

  private static Results read(Path file) throws IOException {
    try {
      return Results.fromJson(Files.readAllBytes(file));
    } catch (JacksonException e) {
      throw new IOException(file + " is not what --json writes: " + e.getOriginalMessage(), e);
    }
  }

  /**
   * Compares. What seems slower is measured again for a few minutes, and has to be slower each
   * time: a machine has phases, as when its memory is fast and its cores are slow.
   */
  private int judge(CommandLineOptions commandLine, Results baseline, Results results)
      throws RunnerException, IOException {
    var gate = new Gate(threshold);
    List<Gate.Comparison> comparisons = new ArrayList<>(gate.compare(baseline, results));
    if (comparisons.isEmpty()) {
      throw new IOException(against + " holds none of the benchmarks that ran");
    }
    List<Gate.Comparison> slower = slower(comparisons);
    for (int doubt = 1; doubt <= DOUBTS && !slower.isEmpty(); doubt++) {
      System.err.printf(
          "%d seem slower: measured again (%d of %d) in %d s%n",
          slower.size(), doubt, DOUBTS, PAUSE.toSeconds());
      pause();
      String names =
          String.join("|", slower.stream().map(c -> Pattern.quote(c.now().name())).toList());
      Results again = measure(commandLine, "\\.(" + names + ")$");
      Map<String, Gate.Comparison> second = new LinkedHashMap<>();
      gate.compare(baseline, again).forEach(c -> second.put(c.now().id(), c));
      comparisons.replaceAll(
          c -> c.verdict() == Gate.Verdict.SLOWER ? second.getOrDefault(c.now().id(), c) : c);
      slower = slower(comparisons);
    }
    System.out.println();
    System.out.print(Table.of(comparisons));
    System.out.printf(
        "%d compared, %d slower by more than %.0f%%%n",
        comparisons.size(), slower.size(), 100 * threshold);
    return slower.isEmpty() ? 0 : 1;
  }

  private static List<Gate.Comparison> slower(List<Gate.Comparison> comparisons) {
    return comparisons.stream().filter(c -> c.verdict() == Gate.Verdict.SLOWER).toList();
  }

  private Results measure(CommandLineOptions commandLine, @Nullable String only)
      throws RunnerException, IOException {
    List<RunResult> runs = new ArrayList<>();
    for (int round = 0; round < rounds(commandLine); round++) {
      runs.addAll(new Runner(options(commandLine, only).build(), format(commandLine)).run());
    }
    if (runs.isEmpty()) {
      throw new IOException("no benchmark matches; ./lethe bench -l lists them");
    }
    return Results.of(about(), runs);
  }

  private static void beginLog() throws IOException {
    String log = System.getProperty("lethe.bench.log");
    if (log != null) {
      Files.deleteIfExists(Path.of(log));
      System.err.println("JMH's log: " + log);
    }
  }

  private static void pause() {
    try {
      Thread.sleep(PAUSE);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** The gate's processes, one of each benchmark in turn: a bad moment is not all of one's. */
  private int rounds(CommandLineOptions commandLine) {
    return quick ? commandLine.getForkCount().orElse(FORKS) : 1;
  }

  /** JMH's own text is shown with profilers, which report in it, and on -v; else it is logged. */
  private static OutputFormat format(CommandLineOptions commandLine) throws IOException {
    String log = System.getProperty("lethe.bench.log");
    if (log == null
        || !commandLine.getProfilers().isEmpty()
        || commandLine.verbosity().hasValue()) {
      return OutputFormatFactory.createFormatInstance(
          System.err, commandLine.verbosity().orElse(VerboseMode.NORMAL));
    }
    Path file = Path.of(log);
    Files.createDirectories(file.toAbsolutePath().getParent());
    var stream =
        new PrintStream(
            Files.newOutputStream(file, StandardOpenOption.CREATE, StandardOpenOption.APPEND),
            true,
            StandardCharsets.UTF_8);
    return new Progress(
        OutputFormatFactory.createFormatInstance(stream, VerboseMode.NORMAL), System.err);
  }

  private ChainedOptionsBuilder options(CommandLineOptions commandLine, @Nullable String only) {
    ChainedOptionsBuilder builder = new OptionsBuilder().parent(commandLine);
    builder.shouldFailOnError(true);
    List<String> flags =
        new ArrayList<>(
            List.of(
                "--enable-native-access=ALL-UNNAMED",
                "--sun-misc-unsafe-memory-access=allow",
                "-Xmx2g",
                "-XX:+UseSerialGC"));
    settings.forEach((name, value) -> flags.add("-D" + name + "=" + value));
    flags.addAll(commandLine.getJvmArgs().orElse(List.of()));
    if (quick) {
      flags.add("-D" + Settings.CEILINGS + "=false");
      quick(builder, commandLine);
    }
    builder.jvmArgs(flags.toArray(String[]::new));
    if (only != null) {
      builder.include(only);
    } else if (filter != null) {
      builder.include(filter);
    } else if (quick) {
      builder.include(QUICK);
    }
    return builder;
  }

  private static void quick(ChainedOptionsBuilder builder, CommandLineOptions commandLine) {
    QUICK_PARAMETERS.forEach(builder::param);
    builder.forks(1); // a round
    builder.warmupIterations(commandLine.getWarmupIterations().orElse(2));
    builder.warmupTime(commandLine.getWarmupTime().orElse(TimeValue.milliseconds(50)));
    builder.measurementIterations(commandLine.getMeasurementIterations().orElse(ITERATIONS));
    builder.measurementTime(commandLine.getMeasurementTime().orElse(TimeValue.milliseconds(50)));
  }

  /** Times of other settings or another machine are no baseline. */
  private static void requireSame(Map<String, String> then, Map<String, String> now) {
    for (String key : now.keySet()) {
      if (!key.equals("date") && !key.equals("java") && !now.get(key).equals(then.get(key))) {
        throw new IllegalArgumentException(
            "the baseline was measured with %s %s, this is %s"
                .formatted(key, then.get(key), now.get(key)));
      }
    }
  }

  /** The machine, and what ran on it. */
  private Map<String, String> about() throws IOException {
    Map<String, String> about = new LinkedHashMap<>();
    about.put("date", Instant.now().toString());
    about.put("java", Runtime.version().toString());
    Path cpu = Path.of("/proc/cpuinfo");
    if (Files.isReadable(cpu)) {
      try (var lines = Files.lines(cpu)) {
        lines
            .filter(line -> line.startsWith("model name"))
            .findFirst()
            .ifPresent(line -> about.put("cpu", line.replaceFirst(".*: *", "")));
      }
    }
    about.put("cores", String.valueOf(Runtime.getRuntime().availableProcessors()));
    about.putAll(settings);
    return about;
  }
}
