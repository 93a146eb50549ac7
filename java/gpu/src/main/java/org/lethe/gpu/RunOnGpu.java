package org.lethe.gpu;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.ObjectMapper;
import tools.jackson.databind.json.JsonMapper;

/** {@code run-on-gpu}: see the package. */
@Command(
    name = "run-on-gpu",
    mixinStandardHelpOptions = true,
    description =
        "Tries every kernel on this machine's GPU, then measures kernels, a Llama2-7b layer, training steps and decoding."
            + " Prints a table, writes JSON; exits 1 if anything failed.")
public final class RunOnGpu implements Callable<Integer> {
  private static final int MOST_LINES = 12;

  @Option(names = "--device", description = "cuda (default), or simt, its emulator")
  String device = "cuda";

  @Option(names = "--small", description = "tiny sizes, which an emulator gets through")
  boolean small;

  @Option(names = "--minutes", description = "the most it takes (default ${DEFAULT-VALUE})")
  double minutes = 9;

  @Option(names = "--json", description = "where results go (default ${DEFAULT-VALUE})")
  Path json = Path.of("results.json");

  @Option(names = "--step", hidden = true, description = "runs that step alone, in this process")
  @Nullable Step step;

  @Option(names = "--rows", hidden = true, description = "where its rows go")
  @Nullable Path rows;

  @Option(names = "--done", hidden = true, split = ";", description = "items that are done")
  List<String> done = List.of();

  private final Map<Step, List<JsonNode>> found = new EnumMap<>(Step.class);
  private final List<Map<String, String>> failures = new ArrayList<>();
  private final List<Map<String, String>> cut = new ArrayList<>();
  private final ObjectMapper mapper = new JsonMapper();
  private final long start = System.nanoTime();

  /** Filled by picocli. */
  RunOnGpu() {}

  /** Runs it and exits with its code. */
  public static void main(String[] arguments) {
    Locale.setDefault(Locale.ROOT);
    System.exit(new CommandLine(new RunOnGpu()).execute(arguments));
  }

  @Override
  public Integer call() throws IOException, InterruptedException {
    Sizes sizes = Sizes.of(small);
    if (step != null && rows != null) {
      return Child.run(step, device, sizes, Set.copyOf(done), rows);
    }
    for (Step next : Step.values()) {
      found.put(next, new ArrayList<>());
      if (next == Step.SANITIZER && sanitizer() == null) {
        cut.add(entry(next, "", "there is no compute-sanitizer on this machine"));
        continue;
      }
      run(next, sizes);
      Files.writeString(json, mapper.writeValueAsString(results()) + "\n");
      if (next == Step.DEVICE && !failures.isEmpty()) {
        break; // no other step would find it either
      }
    }
    var out = new PrintWriter(System.out, true, StandardCharsets.UTF_8);
    new Table(found, failures, cut).print(out);
    out.printf("%.0f s; %s%n", elapsed(), json.toAbsolutePath());
    return failures.isEmpty() ? 0 : 1;
  }

  private double elapsed() {
    return (System.nanoTime() - start) / 1e9;
  }

  // ---- a step -----------------------------------------------------------------------------------

  /** Runs its items, in another process after each that ends one, until all are done or time is. */
  private void run(Step next, Sizes sizes) throws IOException, InterruptedException {
    double end = Math.min(60 * minutes - 5, elapsed() + next.seconds * minutes / 9);
    List<String> items = next.items(sizes);
    var over = new LinkedHashSet<String>();
    System.err.printf("%4.0f s  %s%n", elapsed(), next.title());
    while (over.size() < items.size()) {
      if (elapsed() >= end) {
        items.stream()
            .filter(item -> !over.contains(item))
            .forEach(item -> cut.add(entry(next, item, "no time was left for it")));
        return;
      }
      int before = over.size();
      Path file = Files.createTempFile("lethe", ".rows");
      Path log = Files.createTempFile("lethe", ".log");
      try {
        boolean ended = process(next, over, file, log, end - elapsed());
        String begun = read(next, file, over);
        if (begun != null && !ended) {
          cut.add(entry(next, begun, "its time was over"));
          over.add(begun);
        } else if (begun != null) {
          failures.add(entry(next, begun, "the process died: " + tail(log)));
          over.add(begun);
        } else if (ended && over.size() == before) {
          failures.add(entry(next, "", tail(log)));
          return;
        }
      } finally {
        Files.delete(file);
        Files.delete(log);
      }
    }
  }

  private static Map<String, String> entry(Step step, String item, String why) {
    return Map.of("step", step.title(), "item", item, "why", why);
  }

  /** Returns whether it ended by itself. */
  private boolean process(Step next, Set<String> over, Path file, Path log, double seconds)
      throws IOException, InterruptedException {
    var command = new ArrayList<String>();
    Path sanitizer = next == Step.SANITIZER ? sanitizer() : null;
    if (sanitizer != null) {
      command.addAll(List.of(sanitizer.toString(), "--tool", "memcheck", "--error-exitcode", "9"));
    }
    command.addAll(
        List.of(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "--enable-native-access=ALL-UNNAMED",
            "--sun-misc-unsafe-memory-access=allow",
            "-XX:+UseSerialGC"));
    System.getProperties().stringPropertyNames().stream()
        .filter(name -> name.startsWith("lethe."))
        .forEach(name -> command.add("-D" + name + "=" + System.getProperty(name)));
    command.addAll(
        List.of(
            "-cp",
            System.getProperty("java.class.path"),
            RunOnGpu.class.getName(),
            "--device",
            device,
            "--step",
            next.name(),
            "--rows",
            file.toString()));
    if (small) {
      command.add("--small");
    }
    if (!over.isEmpty()) {
      command.addAll(List.of("--done", String.join(";", over)));
    }
    Process process =
        new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile()).start();
    boolean ended = process.waitFor((long) (1000 * seconds), TimeUnit.MILLISECONDS);
    if (!ended) {
      process.descendants().forEach(ProcessHandle::destroyForcibly);
      process.destroyForcibly().waitFor();
    } else if (sanitizer != null && process.exitValue() == 9) {
      failures.add(entry(next, "", tail(log)));
    }
    return ended;
  }

  /** Adds what is finished; returns the item that was begun and is not. */
  private @Nullable String read(Step next, Path file, Set<String> over) throws IOException {
    String begun = null;
    for (String line : Files.readAllLines(file)) {
      JsonNode row;
      try {
        row = mapper.readTree(line);
      } catch (JacksonException e) {
        continue; // the process was ended in the middle of a line
      }
      if (row.has("begins")) {
        begun = row.path("begins").asString();
        continue;
      }
      begun = null;
      over.add(row.path("item").asString());
      found.computeIfAbsent(next, _ -> new ArrayList<>()).add(row);
      if (row.has("fault")) {
        failures.add(entry(next, row.path("item").asString(), row.path("fault").asString()));
      }
    }
    return begun;
  }

  private static String tail(Path log) throws IOException {
    List<String> lines =
        Files.readAllLines(log, StandardCharsets.ISO_8859_1).stream()
            .filter(line -> !line.isBlank() && !line.startsWith("\tat "))
            .toList();
    return String.join("\n", lines.subList(Math.max(0, lines.size() - MOST_LINES), lines.size()));
  }

  private @Nullable Path sanitizer() {
    String path = System.getenv().getOrDefault("PATH", "");
    return device.equals("cuda")
        ? Stream.concat(Stream.of(path.split(":")), Stream.of("/usr/local/cuda/bin"))
            .map(folder -> Path.of(folder, "compute-sanitizer"))
            .filter(Files::isExecutable)
            .findFirst()
            .orElse(null)
        : null;
  }

  // ---- what is written --------------------------------------------------------------------------

  private Map<String, Object> results() {
    var results = new LinkedHashMap<String, Object>();
    results.put("time", Instant.now().truncatedTo(ChronoUnit.SECONDS).toString());
    results.put("asked_for", device);
    results.put("small", small);
    results.put("java", Runtime.version().toString());
    results.put("seconds", elapsed());
    found.forEach((each, rows) -> results.put(each.title(), rows));
    results.put("failures", failures);
    results.put("cut", cut);
    return results;
  }
}
