package org.lethe.benchmarks;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDate;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.function.DoubleSupplier;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.lethe.format.Checkpoint;
import org.lethe.format.ModelWriter;
import org.lethe.format.StoredType;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.model.Llama;
import org.lethe.model.LlamaConfig;
import org.lethe.model.LlamaWeights;
import org.lethe.model.LlamaWork;

/**
 * {@code benchmarks/growth}: how speed and memory grow with the model, the block, the batch, the
 * threads and the file. Each point is a process of its own, whose peak memory is its own.
 */
public final class Growth {
  private static final double SECONDS = 2;
  private static final int LEAST = 3;

  /** Models of growing size; names say the parameters. */
  private enum Model {
    M15(288, 768, 6, 6, 6, 48, 32000, true),
    M42(512, 1408, 8, 8, 8, 64, 32000, true),
    M135(576, 1536, 30, 9, 3, 64, 49152, true),
    M362(960, 2560, 32, 15, 5, 64, 49152, true),
    M1100(2048, 5632, 22, 32, 4, 64, 32000, false);

    private final LlamaConfig config;

    Model(
        int width,
        int feedForward,
        int layers,
        int heads,
        int kvHeads,
        int headSize,
        int vocabulary,
        boolean tied) {
      config =
          new LlamaConfig(
              vocabulary,
              width,
              feedForward,
              layers,
              heads,
              kvHeads,
              headSize,
              8192,
              1e-5,
              10_000,
              null,
              tied,
              1,
              2);
    }
  }

  private enum Work {
    TRAIN,
    FORWARD,
    DECODE,
    LOAD,
    MAP
  }

  /** One measurement; {@code folder} is where a model to load lies. */
  private record Point(
      Work work, Model model, int blocks, int length, int threads, @Nullable Path folder) {
    List<String> arguments() {
      var all =
          new ArrayList<>(
              List.of("point", work.name(), model.name(), "" + blocks, "" + length, "" + threads));
      if (folder != null) {
        all.add(folder.toString());
      }
      return all;
    }

    static Point of(String[] a) {
      return new Point(
          Work.valueOf(a[1]),
          Model.valueOf(a[2]),
          Integer.parseInt(a[3]),
          Integer.parseInt(a[4]),
          Integer.parseInt(a[5]),
          a.length > 6 ? Path.of(a[6]) : null);
    }
  }

  /**
   * What came of it.
   *
   * @param seconds a pass, a token, or a load
   * @param gflops reached
   * @param residentBytes the process's peak
   * @param deviceBytes what was allocated on the device
   */
  private record Result(double seconds, double gflops, double residentBytes, double deviceBytes) {}

  private final boolean brief;
  private final StringBuilder report = new StringBuilder();
  private final int cores = Runtime.getRuntime().availableProcessors();

  private Growth(boolean brief) {
    this.brief = brief;
  }

  /** {@code [--short] [--out FILE]}: the tables; or a point, in a process of its own. */
  public static void main(String[] arguments) throws IOException, InterruptedException {
    List<String> given = Arrays.asList(arguments);
    if (!given.isEmpty() && given.getFirst().equals("point")) {
      measure(Point.of(arguments));
      return;
    }
    int out = given.indexOf("--out");
    boolean brief = given.contains("--short");
    int known = (brief ? 1 : 0) + (out >= 0 ? 2 : 0);
    if (given.size() != known || out == given.size() - 1) {
      System.err.println("usage: benchmarks/growth [--short] [--out FILE]");
      System.exit(2);
    }
    String text = new Growth(brief).tables();
    System.out.print(text);
    if (out >= 0) {
      Files.writeString(Path.of(given.get(out + 1)), text);
    }
  }

  private String tables() throws IOException, InterruptedException {
    say("# Cost as work grows%n");
    say(
        "`benchmarks/growth%s`, %s, %d cores, %s, BF16, random weights%n",
        brief ? " --short" : "", cpu(), cores, LocalDate.now());
    models();
    lengths();
    batches();
    threads();
    files();
    return report.toString();
  }

  private List<Model> sizes() {
    return brief ? List.of(Model.M15, Model.M42) : List.of(Model.values());
  }

  private Model usual() {
    return brief ? Model.M15 : Model.M135;
  }

  private void models() throws IOException, InterruptedException {
    say("%n## Model: a block of 512 tokens%n");
    heading("parameters");
    for (Model model : sizes()) {
      String name = Table.number(model.config.parameters() / 1e6) + " M";
      for (Work work : List.of(Work.TRAIN, Work.FORWARD, Work.DECODE)) {
        row(name, new Point(work, model, 1, 512, cores, null));
      }
    }
  }

  private void lengths() throws IOException, InterruptedException {
    say("%n## Block length: one block, %s%n", usual());
    heading("tokens");
    for (int length = 128; length <= (brief ? 512 : 4096); length *= 2) {
      for (Work work : List.of(Work.TRAIN, Work.FORWARD)) {
        row("" + length, new Point(work, usual(), 1, length, cores, null));
      }
    }
  }

  private void batches() throws IOException, InterruptedException {
    say("%n## Batch: blocks of 512 tokens, %s%n", usual());
    heading("blocks");
    for (int blocks = 1; blocks <= (brief ? 2 : 8); blocks *= 2) {
      for (Work work : List.of(Work.TRAIN, Work.FORWARD)) {
        row("" + blocks, new Point(work, usual(), blocks, 512, cores, null));
      }
    }
  }

  private void threads() throws IOException, InterruptedException {
    say("%n## Threads: a block of 512 tokens, %s%n", usual());
    heading("threads");
    for (int threads = 1; threads <= cores; threads *= 2) {
      for (Work work : List.of(Work.TRAIN, Work.FORWARD, Work.DECODE)) {
        row("" + threads, new Point(work, usual(), 1, 512, threads, null));
      }
    }
  }

  private void files() throws IOException, InterruptedException {
    say("%n## BF16 safetensors to the first token, loaded and mapped, warm file cache%n");
    say(
        "| parameters | file, MB | how | time | GB/s | resident, MB | device, MB |%n|---:|---:|---|---:|---:|---:|---:|");
    for (Model model : sizes()) {
      Path folder = Files.createTempDirectory("lethe-growth");
      try {
        Path written = folder.resolve("model");
        ModelWriter.writeHuggingFace(
            written, model.config, StoredType.BF16, Map.of(), new RandomModel());
        for (Work work : List.of(Work.LOAD, Work.MAP)) {
          file(new Point(work, model, 1, 1, cores, written));
        }
      } finally {
        delete(folder);
      }
    }
  }

  private void file(Point point) throws IOException, InterruptedException {
    Result r = child(point);
    double parameters = point.model.config.parameters();
    if (r != null) {
      say(
          "| %s M | %s | %s | %s | %s | %s | %s |",
          Table.number(parameters / 1e6),
          Table.number(2 * parameters / 1e6),
          point.work.name().toLowerCase(Locale.ROOT),
          Table.time(r.seconds),
          Table.number(2 * parameters / 1e9 / r.seconds),
          Table.number(r.residentBytes / 1e6),
          Table.number(r.deviceBytes / 1e6));
    }
  }

  private void heading(String first) {
    say(
        "| %s | work | tokens/s | GFLOP/token | GFLOP/s | resident, MB | device, MB |%n|---:|---|---:|---:|---:|---:|---:|",
        first);
  }

  private void row(String first, Point point) throws IOException, InterruptedException {
    Result r = child(point);
    String work = point.work.name().toLowerCase(Locale.ROOT);
    if (r == null) {
      say("| %s | %s | does not fit this machine | | | | |", first, work);
      return;
    }
    double tokens = point.work == Work.DECODE ? 1 : (double) point.blocks * point.length;
    say(
        "| %s | %s | %s | %s | %s | %s | %s |",
        first,
        work,
        Table.number(tokens / r.seconds),
        Table.number(r.gflops * r.seconds / tokens),
        Table.number(r.gflops),
        Table.number(r.residentBytes / 1e6),
        Table.number(r.deviceBytes / 1e6));
  }

  private void say(String format, Object... values) {
    String line = format.formatted(values);
    System.err.println(line);
    report.append(line).append('\n');
  }

  /** Measures in a process of its own; null where its memory did not suffice. */
  private static @Nullable Result child(Point point) throws IOException, InterruptedException {
    if (needed(point) > available()) {
      return null;
    }
    var command = new ArrayList<String>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(
        List.of(
            "--enable-native-access=ALL-UNNAMED",
            "--sun-misc-unsafe-memory-access=allow",
            "-XX:+UseSerialGC",
            "-Xmx256m"));
    command.addAll(List.of("-cp", System.getProperty("java.class.path"), Growth.class.getName()));
    command.addAll(point.arguments());
    Process process =
        new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
    String output =
        new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
    if (process.waitFor() != 0) {
      throw new IOException(String.join(" ", point.arguments()) + " failed");
    }
    double[] n = Arrays.stream(output.split(" ", -1)).mapToDouble(Double::parseDouble).toArray();
    return new Result(n[0], n[1], n[2], n[3]);
  }

  /**
   * About what a point takes: weights, gradients and moments, activations, half a GB of runtime.
   */
  private static double needed(Point point) {
    double n = point.model.config.parameters();
    LlamaConfig c = point.model.config;
    double tokens = (double) point.blocks * point.length;
    double layer =
        2.0
            * tokens
            * (3.0 * c.width() + 2.0 * c.queryWidth() + 2.0 * c.kvWidth() + 2.0 * c.feedForward());
    return (point.work == Work.TRAIN ? 16 * n + c.layers() * layer : 2 * n) + 5e8;
  }

  private static double available() throws IOException {
    return kilobytes(Path.of("/proc/meminfo"), "MemAvailable:");
  }

  private static double kilobytes(Path file, String key) throws IOException {
    try (Stream<String> lines = Files.lines(file)) {
      String line = lines.filter(each -> each.startsWith(key)).findFirst().orElseThrow();
      return 1024 * Double.parseDouble(line.replaceAll("[^0-9]", ""));
    }
  }

  private static String cpu() throws IOException {
    try (Stream<String> lines = Files.lines(Path.of("/proc/cpuinfo"))) {
      return lines
          .filter(l -> l.startsWith("model name"))
          .findFirst()
          .orElse("unknown CPU")
          .replaceFirst(".*: *", "");
    }
  }

  // ---- a point
  // ------------------------------------------------------------------------------------

  private static void measure(Point p) throws IOException {
    try (Device device = Device.open("cpu", new Device.Options(p.threads, null))) {
      double[] result = p.folder == null ? pass(device, p) : fromFile(device, p);
      System.out.printf(
          Locale.ROOT,
          "%.9g %.9g %.9g %.9g%n",
          result[0],
          result[1],
          kilobytes(Path.of("/proc/self/status"), "VmHWM:"),
          result[2]);
    }
  }

  /** Seconds, GFLOP/s, bytes on the device. */
  private static double[] pass(Device device, Point p) {
    try (var steps =
        new Steps(device, DType.BF16, p.model.config, p.blocks, p.length, p.work == Work.TRAIN)) {
      DoubleSupplier work =
          switch (p.work) {
            case TRAIN -> steps::train;
            case FORWARD -> steps::forward;
            default -> steps::decode;
          };
      double gflop =
          switch (p.work) {
            case TRAIN -> steps.trainingFlops() / 1e9;
            case FORWARD -> steps.forwardFlops() / 1e9;
            default ->
                LlamaWork.decoding(p.model.config, DType.BF16, Steps.CACHE / 2).flops() / 1e9;
          };
      double seconds = median(work);
      return new double[] {seconds, gflop / seconds, device.allocatedBytes()};
    }
  }

  /** The same from a file to the first token. */
  private static double[] fromFile(Device device, Point p) {
    Path folder = Objects.requireNonNull(p.folder);
    double[] bytes = new double[1];
    double seconds =
        median(
            () -> {
              try (Checkpoint checkpoint = Checkpoint.open(folder);
                  LlamaWeights weights =
                      p.work == Work.MAP
                          ? LlamaWeights.map(device, checkpoint.config(), checkpoint, DType.BF16)
                          : LlamaWeights.load(
                              device, checkpoint.config(), checkpoint, DType.BF16, false);
                  var llama = new Llama(weights)) {
                bytes[0] = device.allocatedBytes();
                return llama.next(new int[] {1}, 1).getFirst().token();
              }
            });
    return new double[] {seconds, 0, bytes[0]};
  }

  /** After a first call, of at least three and two seconds' worth. */
  private static double median(DoubleSupplier work) {
    work.getAsDouble();
    List<Double> seconds = new ArrayList<>();
    double sum = 0;
    while (seconds.size() < LEAST || sum < SECONDS) {
      long start = System.nanoTime();
      work.getAsDouble();
      seconds.add((System.nanoTime() - start) / 1e9);
      sum += seconds.getLast();
    }
    return Bootstrap.median(seconds.stream().mapToDouble(Double::doubleValue).toArray());
  }

  private static void delete(Path folder) throws IOException {
    try (Stream<Path> tree = Files.walk(folder)) {
      for (Path each : tree.sorted(Comparator.reverseOrder()).toList()) {
        Files.delete(each);
      }
    }
  }
}
