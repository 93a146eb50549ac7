package org.lethe.train;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import java.util.zip.CRC32C;
import org.jspecify.annotations.Nullable;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.kernels.Kernels;
import org.lethe.kernels.MemoryPlan;
import org.lethe.kernels.Tensor;
import org.lethe.model.LlamaConfig;
import org.lethe.model.LlamaParameters;
import org.lethe.model.LlamaWeights;
import org.lethe.model.Operation;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * What a training step changes: exact weights, their gradients, AdamW's moments. Checkpoints hold
 * all of it but the gradients, which every step writes anew.
 */
final class TrainingState implements AutoCloseable {
  private static final String PREFIX = "checkpoint-";
  private static final int CHUNK = 1 << 24;

  /**
   * Where a run stands.
   *
   * @param step steps taken
   * @param bestStep the step whose weights had the lowest held-out loss; 0 for none yet
   * @param bestLoss that loss
   */
  record Position(int step, int bestStep, double bestLoss) {
    static final Position START = new Position(0, 0, Double.POSITIVE_INFINITY);
  }

  private final LlamaWeights weights;
  private final Kernels kernels;
  private final MemoryPlan.Arena arena;
  private final Tensor gradient;
  private final LlamaParameters gradients;
  private final Tensor m;
  private final Tensor v;
  private final Tensor sum;

  TrainingState(LlamaWeights weights, TrainingOptions options) {
    this.weights = weights;
    Device device = weights.device();
    kernels = device.kernels();
    arena = plan(weights.config(), options).allocate(device);
    gradient = arena.get("gradients");
    gradients = new LlamaParameters(weights.config(), gradient);
    m = arena.get("first moments");
    v = arena.get("second moments");
    sum = arena.get("gradient norm");
    kernels.fill(gradient, 0);
    kernels.fill(m, 0);
    kernels.fill(v, 0);
  }

  /** What it takes, by name; the weights are not its own. */
  static MemoryPlan plan(LlamaConfig config, TrainingOptions options) {
    long n = LlamaParameters.elements(config);
    return new MemoryPlan("training state")
        .add("gradients", options.gradientType(), n)
        .add("first moments", options.momentType(), n)
        .add("second moments", options.momentType(), n)
        .add("gradient norm", DType.F64, 1);
  }

  /** What a step does once its gradients are there. */
  static List<Operation> work(LlamaConfig config, TrainingOptions options) {
    double n = config.parameters();
    double g = n * options.gradientType().bytes();
    double exact = n * 2 * Float.BYTES; // halves or whole, read and written
    double moments = n * 2 * 2 * options.momentType().bytes();
    return List.of(
        new Operation("step gradient norm", 0, g, false),
        new Operation("step AdamW", 0, g + exact + moments, false));
  }

  LlamaParameters gradients() {
    return gradients;
  }

  /** The global gradient norm: √ of the sum of squares. */
  double gradientNorm() {
    return norm(gradient);
  }

  private double norm(Tensor tensor) {
    kernels.sumOfSquares(sum, tensor);
    return Math.sqrt(sum.toDoubles()[0]);
  }

  /** The first parameter, in the flat order, whose gradient is not finite; null if all are. */
  @Nullable String firstNonFinite() {
    for (LlamaParameters.Parameter p : gradients.parameters()) {
      if (!Double.isFinite(norm(gradients.tensor(p.name())))) {
        return p.name();
      }
    }
    return null;
  }

  /** AdamW. */
  void update(Kernels.AdamW how) {
    kernels.adamw(weights.parameters().flat(), weights.low(), gradient, m, v, how, 0);
  }

  // ---- checkpoints ------------------------------------------------------------------------------

  private Map<String, Tensor> saved() {
    var tensors = weightTensors();
    tensors.put("m", m);
    tensors.put("v", v);
    return tensors;
  }

  private Map<String, Tensor> weightTensors() {
    var tensors = new LinkedHashMap<String, Tensor>();
    tensors.put("weights", weights.parameters().flat());
    Tensor low = weights.low();
    if (low != null) {
      tensors.put("low", low);
    }
    return tensors;
  }

  /** Bytes a checkpoint takes on disk. */
  long checkpointBytes() {
    return saved().values().stream().mapToLong(Tensor::bytes).sum();
  }

  /** Bytes the best weights take on disk. */
  long weightBytes() {
    return weightTensors().values().stream().mapToLong(Tensor::bytes).sum();
  }

  /** Writes a checkpoint, then deletes those before it: at any moment one is whole. */
  void save(Path directory, Position position) throws IOException {
    String name = PREFIX + position.step();
    write(directory, name, saved(), position);
    deleteAllBut(directory, PREFIX, name);
    deleteAllBut(directory, "best-", "best-" + position.bestStep());
  }

  /** Keeps the weights of this step beside the checkpoints. */
  void saveBest(Path directory, Position position) throws IOException {
    write(directory, "best-" + position.bestStep(), weightTensors(), position);
  }

  /** Puts back the weights of the best step. */
  void restoreBest(Path directory, Position position) throws IOException {
    read(directory.resolve("best-" + position.bestStep()), weightTensors());
  }

  /** Restores the latest checkpoint and clears away what came after it; null if there is none. */
  @Nullable Position restore(Path directory) throws IOException {
    int latest = -1;
    for (Path path : list(directory)) {
      String name = path.getFileName().toString();
      if (name.matches(PREFIX + "[0-9]{1,9}")) {
        latest = Math.max(latest, Integer.parseInt(name.substring(PREFIX.length())));
      }
    }
    if (latest < 0) {
      deleteAllBut(directory, "best-", "");
      return null;
    }
    Path checkpoint = directory.resolve(PREFIX + latest);
    JsonNode state = read(checkpoint, saved());
    var position =
        new Position(
            state.path("step").intValue(0),
            state.path("bestStep").intValue(0),
            state.path("bestLoss").isNumber()
                ? state.path("bestLoss").doubleValue()
                : Double.POSITIVE_INFINITY);
    if (position.step() != latest) {
      throw new IOException(checkpoint + " says it is of step " + position.step());
    }
    deleteAllBut(directory, PREFIX, PREFIX + latest);
    deleteAllBut(directory, "best-", "best-" + position.bestStep());
    return position;
  }

  /** Deletes every checkpoint: the run has its result. */
  static void clear(Path directory) throws IOException {
    deleteAllBut(directory, PREFIX, "");
    deleteAllBut(directory, "best-", "");
  }

  private void write(Path directory, String name, Map<String, Tensor> tensors, Position position)
      throws IOException {
    var event = new CheckpointTransfer();
    event.begin();
    Path aside = directory.resolve(name + ".tmp");
    delete(aside);
    Files.createDirectory(aside);
    try {
      var checksums = new LinkedHashMap<String, Long>();
      for (var entry : tensors.entrySet()) {
        checksums.put(entry.getKey(), write(aside.resolve(entry.getKey()), entry.getValue()));
      }
      var state = new LinkedHashMap<String, Object>();
      state.put("step", position.step());
      state.put("bestStep", position.bestStep());
      if (position.bestStep() > 0) {
        state.put("bestLoss", position.bestLoss());
      }
      state.put("crc32c", checksums);
      RunFolder.writeAtomically(
          aside.resolve("state.json"), new JsonMapper().writeValueAsBytes(state));
      delete(directory.resolve(name));
      Files.move(aside, directory.resolve(name), StandardCopyOption.ATOMIC_MOVE);
      RunFolder.syncDirectory(directory);
      event.commit("written", directory.resolve(name), tensors);
    } catch (IOException e) {
      try {
        delete(aside);
      } catch (IOException also) {
        e.addSuppressed(also);
      }
      throw new IOException(
          "could not write "
              + directory.resolve(name)
              + " (the one before it stays): "
              + e.getMessage(),
          e);
    }
  }

  private static long write(Path file, Tensor tensor) throws IOException {
    var crc = new CRC32C();
    try (Arena arena = Arena.ofConfined();
        FileChannel out =
            FileChannel.open(file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
      Tensor bytes = tensor.cast("bytes", DType.BYTE, 0, tensor.bytes());
      MemorySegment stage = arena.allocate(Math.min(CHUNK, bytes.bytes()), 64);
      for (long at = 0; at < bytes.bytes(); at += CHUNK) {
        long count = Math.min(CHUNK, bytes.bytes() - at);
        bytes.view("bytes", at, count).copyTo(stage.asSlice(0, count));
        ByteBuffer buffer = stage.asSlice(0, count).asByteBuffer();
        crc.update(buffer.duplicate());
        while (buffer.hasRemaining()) {
          out.write(buffer);
        }
      }
      out.force(true);
    }
    return crc.getValue();
  }

  private static JsonNode read(Path checkpoint, Map<String, Tensor> tensors) throws IOException {
    var event = new CheckpointTransfer();
    event.begin();
    JsonNode state;
    try {
      state = new JsonMapper().readTree(Files.readAllBytes(checkpoint.resolve("state.json")));
    } catch (tools.jackson.core.JacksonException e) {
      throw damaged(checkpoint, "state.json is not JSON", e);
    } catch (NoSuchFileException e) {
      throw damaged(checkpoint, "state.json is missing", e);
    }
    for (var entry : tensors.entrySet()) {
      Path file = checkpoint.resolve(entry.getKey());
      long crc;
      try {
        crc = read(file, entry.getValue());
      } catch (NoSuchFileException e) {
        throw damaged(checkpoint, entry.getKey() + " is missing", e);
      }
      if (crc != state.path("crc32c").path(entry.getKey()).longValue(-1)) {
        throw damaged(checkpoint, "the checksum of " + entry.getKey() + " differs", null);
      }
    }
    event.commit("read", checkpoint, tensors);
    return state;
  }

  private static IOException damaged(Path checkpoint, String how, @Nullable Exception cause) {
    return new IOException(
        "%s is damaged (%s): delete it and run again".formatted(checkpoint, how), cause);
  }

  private static long read(Path file, Tensor tensor) throws IOException {
    var crc = new CRC32C();
    try (Arena arena = Arena.ofConfined();
        FileChannel in = FileChannel.open(file, StandardOpenOption.READ)) {
      if (in.size() != tensor.bytes()) {
        throw new IOException(
            "%s has %d bytes, %s takes %d".formatted(file, in.size(), tensor, tensor.bytes()));
      }
      Tensor bytes = tensor.cast("bytes", DType.BYTE, 0, tensor.bytes());
      MemorySegment stage = arena.allocate(Math.min(CHUNK, bytes.bytes()), 64);
      for (long at = 0; at < bytes.bytes(); at += CHUNK) {
        long count = Math.min(CHUNK, bytes.bytes() - at);
        ByteBuffer buffer = stage.asSlice(0, count).asByteBuffer();
        while (buffer.hasRemaining() && in.read(buffer) >= 0) {}
        if (buffer.hasRemaining()) {
          throw new IOException(file + " ended early");
        }
        crc.update(buffer.flip());
        bytes.view("bytes", at, count).copyFrom(stage.asSlice(0, count));
      }
    }
    return crc.getValue();
  }

  private static List<Path> list(Path directory) throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return files.toList();
    }
  }

  private static void deleteAllBut(Path directory, String prefix, String kept) throws IOException {
    for (Path path : list(directory)) {
      String name = path.getFileName().toString();
      if (name.startsWith(prefix) && !name.equals(kept)) {
        delete(path);
      }
    }
  }

  private static void delete(Path path) throws IOException {
    if (Files.exists(path)) {
      try (Stream<Path> tree = Files.walk(path)) {
        for (Path each : tree.sorted(Comparator.reverseOrder()).toList()) {
          Files.delete(each);
        }
      }
    }
  }

  @Override
  public void close() {
    arena.close();
  }
}
