package org.lethe.format;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.lethe.model.LlamaConfig;

/** A checkpoint whose tensors are stretches of mapped files. */
final class MappedCheckpoint implements Checkpoint {

  /**
   * A tensor in a file.
   *
   * @param bytes its blocks, exactly
   * @param gguf whether rows that RoPE turns are in GGUF's order
   */
  record Mapped(LlamaTensor tensor, StoredType type, MemorySegment bytes, boolean gguf) {
    boolean permuted() {
      return gguf && tensor.heads() > 0;
    }
  }

  /** What is in a checkpoint. */
  record Contents(LlamaConfig config, List<Mapped> tensors) {}

  private final Path path;
  private final LlamaConfig config;
  private final Map<String, Mapped> tensors = new LinkedHashMap<>();
  private final Arena arena;

  private MappedCheckpoint(Path path, Contents contents, Arena arena) {
    this.path = path;
    this.config = contents.config();
    this.arena = arena;
    contents.tensors().forEach(t -> tensors.put(t.tensor().name(), t));
  }

  /** The checkpoint that {@code reader} finds, mapping files into the arena that it is given. */
  @SuppressWarnings("MustBeClosedChecker") // the checkpoint owns its arena and closes it
  static Checkpoint open(Path path, Function<Arena, Contents> reader) {
    Arena arena = Arena.ofShared();
    try {
      return new MappedCheckpoint(path, reader.apply(arena), arena);
    } catch (RuntimeException | Error e) {
      arena.close();
      throw e;
    }
  }

  @Override
  public Path path() {
    return path;
  }

  @Override
  public LlamaConfig config() {
    return config;
  }

  @Override
  public List<String> tensors() {
    return List.copyOf(tensors.keySet());
  }

  @Override
  public Stored stored(String name) {
    Mapped t = find(name);
    return new Stored(t.type(), t.tensor().shape().stream().mapToLong(n -> n).toArray());
  }

  @Override
  public void read(String name, long first, MemorySegment f32) {
    Mapped t = find(name);
    long count = f32.byteSize() / Float.BYTES;
    if (f32.byteSize() % Float.BYTES != 0
        || first < 0
        || first > t.tensor().elements()
        || count > t.tensor().elements() - first) {
      throw new IllegalArgumentException(
          "elements %d.. into %d bytes of F32, tensor '%s' is %s"
              .formatted(first, f32.byteSize(), name, LlamaTensor.text(t.tensor().shape())));
    }
    if (!t.permuted()) {
      t.type().decode(t.bytes(), first, f32);
      return;
    }
    long columns = t.tensor().columns();
    for (long done = 0, n; done < count; done += n) {
      long row = (first + done) / columns;
      long column = (first + done) % columns;
      n = Math.min(columns - column, count - done);
      t.type()
          .decode(
              t.bytes(),
              t.tensor().ggufRow(row) * columns + column,
              f32.asSlice(done * Float.BYTES, n * Float.BYTES));
    }
  }

  @Override
  public @Nullable MemorySegment raw(String name) {
    Mapped t = find(name);
    boolean plain = t.type() == StoredType.F32 || t.type() == StoredType.BF16;
    boolean aligned = t.bytes().address() % t.type().bytes(1) == 0;
    return plain && aligned && !t.permuted() ? t.bytes() : null;
  }

  private Mapped find(String name) {
    Mapped tensor = tensors.get(name);
    if (tensor == null) {
      throw new IllegalArgumentException(path + " has no tensor '" + name + "'");
    }
    return tensor;
  }

  @Override
  public void close() {
    if (arena.scope().isAlive()) {
      arena.close();
    }
  }
}
