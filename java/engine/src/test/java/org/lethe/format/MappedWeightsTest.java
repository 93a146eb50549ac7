package org.lethe.format;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.kernels.Tensor;
import org.lethe.kernels.TestedDevices;
import org.lethe.model.Llama;
import org.lethe.model.LlamaWeights;
import org.lethe.model.Refusals;
import org.lethe.model.TinyLlama;

/** Weights that are computed with where the file lies in memory. */
@Tag("model")
class MappedWeightsTest {
  private static final int TOKENS = 40;

  @TempDir private Path temporary;

  private final Device device = TestedDevices.open(TestedDevices.names().getFirst(), 1);

  private TinyLlama llama = TinyLlama.untied();
  private Path written = Path.of("");

  @BeforeEach
  void write() {
    written = write(StoredType.BF16);
  }

  @AfterEach
  void everythingIsFreed() {
    assertEquals(0, device.allocatedBytes(), () -> device.allocations().toString());
    device.close();
  }

  private Path write(StoredType type) {
    Path folder = temporary.resolve(type + " " + llama.config().tiedHead());
    ModelWriter.writeHuggingFace(folder, llama.config(), type, Map.of(), llama);
    return folder;
  }

  /** The logits are those of loaded weights, bit for bit; what is allocated is as expected. */
  private void maps(Path path, DType dtype, long allocated) {
    try (Checkpoint checkpoint = Checkpoint.open(path);
        LlamaWeights mapped = LlamaWeights.map(device, llama.config(), checkpoint, dtype)) {
      assertEquals(
          device.hostAddressable() ? allocated : loaded(dtype.bytes()), device.allocatedBytes());
      try (LlamaWeights loaded =
          LlamaWeights.load(device, llama.config(), checkpoint, dtype, false)) {
        assertArrayEquals(logits(loaded), logits(mapped));
        mapped.pack();
        assertArrayEquals(logits(loaded), logits(mapped));
      }
    }
  }

  private float[] logits(LlamaWeights weights) {
    int[] tokens = llama.tokens("tokens", TOKENS);
    try (Llama run = new Llama(weights);
        Tensor logits = device.allocate("logits", DType.F32, TOKENS, llama.config().vocabulary())) {
      run.logits(tokens, logits);
      return logits.toFloats();
    }
  }

  @Test
  void whatLetheWritesIsNotCopied() {
    maps(written, DType.BF16, 0);
    llama = TinyLlama.tied();
    maps(write(StoredType.BF16), DType.BF16, 0);
  }

  @Test
  void whatIsStoredOtherwiseIsLoaded() {
    maps(written, DType.F32, loaded(Float.BYTES));
    Path wide = write(StoredType.F32);
    maps(wide, DType.F32, loaded(Float.BYTES));
    maps(wide, DType.BF16, loaded(DType.BF16.bytes()));
  }

  /** Bytes of all weights, each beginning a cache line. */
  private long loaded(int bytes) {
    return sizes().stream().mapToLong(size -> Math.ceilDiv(size * bytes, 64L) * 64).sum();
  }

  /** Elements of what lies together. */
  private List<Long> sizes() {
    var c = llama.config();
    long d = c.width();
    long f = c.feedForward();
    long v = c.vocabulary();
    long q = c.queryWidth();
    var sizes = new ArrayList<>(List.of(v * d, v * d, d));
    for (int l = 0; l < c.layers(); l++) {
      sizes.addAll(List.of(d, d, (q + 2L * c.kvWidth()) * d, d * q, 2 * f * d, d * f));
    }
    return sizes;
  }

  /** As others write files: k, the output, q and v; they are laid together, the rest is mapped. */
  @Test
  void whatDoesNotLieTogetherIsCopied() throws IOException {
    var c = llama.config();
    long qkv = (c.queryWidth() + 2L * c.kvWidth()) * c.width() * 2;
    maps(reordered(0), DType.BF16, c.layers() * Math.ceilDiv(qkv, 64) * 64);
  }

  /** A header of an odd length: no element is where a 16-bit number may be read. */
  @Test
  void whatIsMisalignedIsCopied() throws IOException {
    maps(reordered(1), DType.BF16, loaded(DType.BF16.bytes()));
  }

  /** The same model with its tensors in alphabetical order, data from a multiple of 8 + odd on. */
  private Path reordered(int odd) throws IOException {
    Path folder = Files.createDirectory(temporary.resolve("reordered " + odd));
    Files.copy(written.resolve("config.json"), folder.resolve("config.json"));
    var data = new ByteArrayOutputStream();
    String header;
    try (Checkpoint checkpoint = Checkpoint.open(written)) {
      header =
          checkpoint.tensors().stream()
              .sorted()
              .map(
                  name -> {
                    long from = data.size();
                    data.writeBytes(
                        Objects.requireNonNull(checkpoint.raw(name))
                            .toArray(ValueLayout.JAVA_BYTE));
                    return "\"%s\":{\"dtype\":\"BF16\",\"shape\":%s,\"data_offsets\":[%d,%d]}"
                        .formatted(
                            name,
                            Arrays.toString(checkpoint.stored(name).shape()),
                            from,
                            data.size());
                  })
              .collect(Collectors.joining(",", "{", "}"));
    }
    byte[] text =
        (header + " ".repeat((8 - header.length() % 8) % 8 + odd))
            .getBytes(StandardCharsets.US_ASCII);
    ByteBuffer start =
        ByteBuffer.allocate(8 + text.length).order(ByteOrder.LITTLE_ENDIAN).putLong(text.length);
    start.put(text);
    var file = new ByteArrayOutputStream();
    file.writeBytes(start.array());
    data.writeTo(file);
    Files.write(folder.resolve("model.safetensors"), file.toByteArray());
    return folder;
  }

  @Test
  void readsBackWhatTheFileHolds() {
    try (Checkpoint checkpoint = Checkpoint.open(written);
        LlamaWeights mapped = LlamaWeights.map(device, llama.config(), checkpoint, DType.BF16)) {
      Path again = temporary.resolve("again");
      ModelWriter.writeHuggingFace(again, llama.config(), StoredType.BF16, Map.of(), mapped);
      assertEquals(-1, mismatch(again));
    }
  }

  private long mismatch(Path again) {
    try {
      return Files.mismatch(
          written.resolve("model.safetensors"), again.resolve("model.safetensors"));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Not a crash: a tensor knows that its memory is gone. */
  @Test
  void aFileThatIsClosedIsAnException() {
    assumeTrue(device.hostAddressable(), "weights are loaded to such a device");
    LlamaWeights mapped;
    try (Checkpoint checkpoint = Checkpoint.open(written)) {
      mapped = LlamaWeights.map(device, llama.config(), checkpoint, DType.BF16);
    }
    try (mapped;
        Llama run = new Llama(mapped)) {
      Refusals.said(
          "lies in is closed",
          assertThrows(
              IllegalStateException.class, () -> run.loss(new int[] {1, 2}, new int[] {2, 3}, 1)));
      Refusals.said(
          "not in one tensor",
          assertThrows(IllegalStateException.class, mapped.parameters()::flat));
    }
  }
}
