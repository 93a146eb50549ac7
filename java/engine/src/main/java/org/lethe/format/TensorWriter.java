package org.lethe.format;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import org.lethe.model.ParameterSource;

/** Writes tensors from a source to a file, a megabyte at a time. */
final class TensorWriter implements AutoCloseable {
  private static final int CHUNK = 1 << 18; // elements; whole blocks of every type

  private final Path target;
  private final ParameterSource source;
  private final Arena arena = Arena.ofConfined();
  private final MemorySegment f32 = arena.allocate((long) CHUNK * Float.BYTES, Float.BYTES);
  private final ByteBuffer stored =
      arena.allocate((long) CHUNK * Float.BYTES).asByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
  private final float[] values = new float[CHUNK];

  /**
   * @param target what messages name
   */
  TensorWriter(Path target, ParameterSource source) {
    this.target = target;
    this.source = source;
  }

  /** Appends {@code tensor} as {@code type}; {@code gguf}: in GGUF's order of rows. */
  void write(LlamaTensor tensor, StoredType type, boolean gguf, FileChannel file)
      throws IOException {
    long elements = tensor.elements();
    for (long first = 0; first < elements; first += CHUNK) {
      int count = (int) Math.min(CHUNK, elements - first);
      if (gguf && tensor.heads() > 0) {
        readPermuted(tensor, first, count);
      } else {
        source.read(tensor.name(), first, f32.asSlice(0, (long) count * Float.BYTES));
      }
      MemorySegment.copy(f32, ValueLayout.JAVA_FLOAT, 0, values, 0, count);
      refuseWhatDoesNotFit(tensor, type, first, count);
      stored.clear();
      type.encode(values, count, stored);
      stored.limit((int) type.bytes(count));
      write(file, stored);
    }
  }

  private void readPermuted(LlamaTensor tensor, long first, int count) {
    long columns = tensor.columns();
    for (long done = 0, n; done < count; done += n) {
      long row = (first + done) / columns;
      long column = (first + done) % columns;
      n = Math.min(columns - column, count - done);
      source.read(
          tensor.name(),
          tensor.rowOfGguf(row) * columns + column,
          f32.asSlice(done * Float.BYTES, n * Float.BYTES));
    }
  }

  private void refuseWhatDoesNotFit(LlamaTensor tensor, StoredType type, long first, int count) {
    float largest = type.largest();
    for (int i = 0; i < count; i++) {
      if (!(Math.abs(values[i]) <= largest)) {
        throw new ModelFormatException(
            target,
            "tensor '%s' cannot be written as %s: it has the element %s (element %d of %s)"
                .formatted(
                    tensor.name(), type, values[i], first + i, LlamaTensor.text(tensor.shape())));
      }
    }
  }

  static void write(FileChannel file, ByteBuffer bytes) throws IOException {
    while (bytes.hasRemaining()) {
      file.write(bytes);
    }
  }

  @Override
  public void close() {
    arena.close();
  }
}
