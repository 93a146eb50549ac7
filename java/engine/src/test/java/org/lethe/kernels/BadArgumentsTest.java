package org.lethe.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.function.Executable;

/** Calls that cannot be right are refused, by name, before anything is written. */
@Tag("kernels")
class BadArgumentsTest {
  private static final int INVALID_ARGUMENT = 1;
  private static final int SLOT = 1 << 16;
  private static final long WORKSPACE_BYTES = 1L << 20;

  private static final Map<String, Set<String>> MAY_BE_NULL =
      Map.of(
          "rmsnorm", Set.of("rstd", "sum", "residual"),
          "rmsnorm_backward", Set.of("d_residual"),
          "attention", Set.of("lse"),
          "attention_backward", Set.of("workspace"),
          "pack", Set.of("packed"),
          "matmul_packed", Set.of("packed"),
          "cross_entropy", Set.of("d_logits"),
          "adamw", Set.of("low"));

  /** Numbers that have no wrong value, or are wrong only together with others. */
  private static final Set<String> ANY_VALUE =
      Set.of("accumulate", "inverse", "seed", "first", "workspace_bytes", "packed_bytes");

  private final Device device = TestedDevices.openAny();

  @AfterEach
  void close() {
    device.close();
  }

  // ---- below: every parameter of every kernel, broken one at a time -----------------------------

  /** A call of small, good arguments: fp32, sizes of 2, row strides of 8, memory full of zeros. */
  private List<Object> goodArguments(Arena arena, List<Header.Parameter> parameters) {
    MemorySegment memory = arena.allocate(parameters.size() * (long) SLOT + WORKSPACE_BYTES, SLOT);
    var arguments = new ArrayList<Object>();
    for (int i = 0; i < parameters.size(); i++) {
      Header.Parameter p = parameters.get(i);
      arguments.add(
          switch (p.name()) {
            case "device" -> device.handle();
            case "stream", "low" -> 0L;
            case "workspace" -> memory.address() + parameters.size() * (long) SLOT;
            case "workspace_bytes" -> WORKSPACE_BYTES;
            case "seed", "first" -> 0L;
            case "step", "rows" -> 1L;
            case "capacity" -> 4L;
            default ->
                p.isPointer()
                    ? (Object) (memory.address() + i * (long) SLOT)
                    : p.carrier() == int.class
                        ? (Object) 0
                        : p.carrier() == float.class
                            ? (Object) 0.5f
                            : (Object) (p.name().startsWith("ld_") ? 8L : 2L);
          });
    }
    return arguments;
  }

  private static List<Object> wrongValues(String kernel, Header.Parameter p, Object good) {
    if (p.name().equals("device") || p.name().equals("stream") || ANY_VALUE.contains(p.name())) {
      return List.of();
    }
    if (p.isPointer()) {
      var wrong = new ArrayList<Object>();
      if (!MAY_BE_NULL.getOrDefault(kernel, Set.of()).contains(p.name())) {
        wrong.add(0L);
      }
      if (!good.equals(0L)) {
        wrong.add((long) good + 1);
      }
      return wrong;
    }
    if (p.carrier() == int.class) {
      return List.of(-1, 7);
    }
    if (p.carrier() == long.class) {
      if (kernel.equals("generic_labels") && p.name().equals("F")) {
        return List.of(-1L, Long.MAX_VALUE); // nothing forbidden is nothing wrong
      }
      return p.name().equals("step")
          ? List.of(0L, -1L)
          : List.of(0L, -1L, Long.MIN_VALUE, Long.MAX_VALUE);
    }
    return List.of();
  }

  @TestFactory
  Stream<DynamicTest> everyParameterOfEveryKernelIsChecked() {
    return Header.kernels().entrySet().stream()
        .map(e -> dynamicTest(e.getKey(), () -> checksEveryParameter(e.getKey(), e.getValue())));
  }

  private void checksEveryParameter(String kernel, List<Header.Parameter> parameters)
      throws Throwable {
    MemoryLayout[] layouts =
        parameters.stream()
            .map(
                p ->
                    p.carrier() == int.class
                        ? ValueLayout.JAVA_INT
                        : p.carrier() == float.class
                            ? ValueLayout.JAVA_FLOAT
                            : ValueLayout.JAVA_LONG)
            .toArray(MemoryLayout[]::new);
    try (Arena arena = Arena.ofShared()) {
      NativeLibrary library = NativeLibrary.load(device.name(), null, arena);
      MethodHandle call =
          library.bind("lethe_" + kernel, FunctionDescriptor.of(ValueLayout.JAVA_INT, layouts));
      MethodHandle message =
          library.bind("lethe_message", FunctionDescriptor.of(ValueLayout.ADDRESS));
      List<Object> good = goodArguments(arena, parameters);
      int status = (int) call.invokeWithArguments(good);
      assertEquals(0, status, () -> "the good call " + good + ": " + text(message));
      var accepted = new ArrayList<String>();
      for (int i = 0; i < parameters.size(); i++) {
        for (Object wrong : wrongValues(kernel, parameters.get(i), good.get(i))) {
          var arguments = new ArrayList<>(good);
          arguments.set(i, wrong);
          int found = (int) call.invokeWithArguments(arguments);
          String said = text(message);
          if (found != INVALID_ARGUMENT || !said.contains(kernel)) {
            accepted.add(
                "%s = %s gives status %d, '%s'".formatted(parameters.get(i), wrong, found, said));
          }
        }
      }
      assertTrue(accepted.isEmpty(), () -> kernel + ":\n" + String.join("\n", accepted));
    }
  }

  private static String text(MethodHandle message) {
    try {
      return ((MemorySegment) message.invoke()).reinterpret(65536).getString(0);
    } catch (Throwable t) {
      throw new AssertionError(t);
    }
  }

  // ---- indices out of range ---------------------------------------------------------------------

  /** A GPU's kernels run behind the call, which does not wait to read indices. */
  private static void assumeReadsIndices() {
    assumeTrue(TestedDevices.isCpu(TestedDevices.names().getFirst()));
  }

  private Tensor real(String name, long... shape) {
    Tensor tensor = device.allocate(name, DType.F32, shape);
    device.kernels().fill(tensor, 1);
    return tensor;
  }

  private Tensor ints(int... values) {
    return device.of("index", values, values.length);
  }

  private void refused(String operation, Executable call) {
    var e = assertThrows(DeviceException.class, call);
    assertEquals(DeviceException.Status.INVALID_ARGUMENT, e.status(), e.getMessage());
    assertTrue(e.toString().contains(operation), e.getMessage());
  }

  @Test
  void indicesOutOfRangeAreRefusedByTheNameOfTheOperation() {
    assumeReadsIndices();
    Kernels k = device.kernels();
    for (int wrong : new int[] {-1, 5, Integer.MAX_VALUE, Integer.MIN_VALUE}) {
      Tensor index = ints(0, wrong, 4);
      refused("embedding", () -> k.embedding(real("out", 3, 2), real("table", 5, 2), index));
      refused(
          "embedding_backward",
          () -> k.embeddingBackward(real("dTable", 5, 2), real("dOut", 3, 2), index));
      refused("gather_rows", () -> k.gatherRows(real("to", 3, 2), real("from", 5, 2), index));
      refused("scatter_rows", () -> k.scatterRows(real("to", 5, 2), real("from", 3, 2), index));
      refused("rope", () -> k.rope(real("x", 3, 4), real("table", 5, 2, 2), index, false));
      refused(
          "cross_entropy",
          () -> k.crossEntropy(real("loss", 3), null, real("logits", 3, 5), index, 1));
      refused(
          "token_logprobs", () -> k.tokenLogprobs(real("loss", 3), real("logits", 3, 5), index));
      if (wrong != -1) {
        refused("generic_labels", () -> labels(index, null, null));
      }
      refused("generic_labels", () -> labels(ints(0, 1, 2), index, ints(0, 0, 0)));
      var h = new Kernels.Heads(1, 1, 2, 1, 2);
      Tensor cache = real("cache", 1, 1, 5, 2);
      Tensor keys = real("keys", 1, 2);
      Tensor query = real("query", 1, 4);
      Tensor position = ints(wrong);
      refused("cache_write", () -> k.cacheWrite(cache, cache, keys, keys, position, h));
      refused("attention_decode", () -> k.attentionDecode(query, query, cache, cache, position, h));
    }
  }

  @Test
  void packedMemoryThatIsTooSmallIsRefused() {
    Kernels k = device.kernels();
    long bytes = k.packedBytes(DType.BF16, 3, 70);
    assumeTrue(bytes > 0, "this device packs nothing");
    Tensor a = device.allocate("a", DType.BF16, 2, 70);
    Tensor b = device.allocate("b", DType.BF16, 3, 70);
    Tensor packed = device.allocate("packed", DType.BYTE, bytes);
    k.fill(a, 1);
    k.fill(b, 1);
    k.pack(packed, b);
    Tensor small = packed.view("small", 0, bytes - 1);
    refused("pack", () -> k.pack(small, b));
    refused("matmul_packed", () -> k.matmulPacked(real("c", 2, 3), a, small, b));
    assertEquals(0, k.packedBytes(DType.F32, 3, 70));
  }

  @Test
  void aTensorOfAnotherDeviceIsRefused() {
    try (Device other = TestedDevices.openAny();
        Tensor there = other.allocate("there", DType.F32, 3)) {
      Tensor here = real("here", 3);
      for (Executable mixed :
          List.<Executable>of(
              () -> device.kernels().fill(there, 1),
              () -> device.kernels().convert(here, there),
              () -> device.kernels().swiglu(here, here, there))) {
        var e = assertThrows(IllegalArgumentException.class, mixed);
        assertTrue(e.toString().contains("another device"), e.toString());
      }
    }
  }

  private void labels(
      Tensor mapping,
      @org.jspecify.annotations.Nullable Tensor forbidden,
      @org.jspecify.annotations.Nullable Tensor after) {
    Tensor labels = device.allocate("labels", DType.I32, 1, 3);
    device
        .kernels()
        .genericLabels(
            labels, real("g", 5, 5), real("r", 3, 5), mapping, forbidden, after, new float[] {5});
  }

  @Test
  void refusedCallsWriteNothing() {
    assumeReadsIndices();
    Tensor out = real("out", 3, 2);
    refused("embedding", () -> device.kernels().embedding(out, real("table", 5, 2), ints(0, 1, 5)));
    for (float x : out.toFloats()) {
      assertEquals(1, x);
    }
  }

  @Test
  void seventeenAlphasAreRefused() {
    Tensor labels = device.allocate("labels", DType.I32, 17, 3);
    refused(
        "generic_labels",
        () ->
            device
                .kernels()
                .genericLabels(
                    labels,
                    real("g", 5, 5),
                    real("r", 3, 5),
                    ints(0, 1, 2),
                    null,
                    null,
                    new float[17]));
  }

  @Test
  void aHeadLargerThan256IsRefused() {
    var h = new Kernels.Heads(1, 2, 1, 1, 257);
    refused(
        "attention",
        () ->
            device
                .kernels()
                .attention(
                    real("out", 2, 257),
                    null,
                    real("q", 2, 257),
                    real("k", 2, 257),
                    real("v", 2, 257),
                    h));
  }

  @Test
  void aWorkspaceTooSmallIsRefused() {
    var h = new Kernels.Heads(1, 64, 2, 1, 64);
    Kernels k = device.kernels();
    if (k.attentionBackwardWorkspace(DType.F32, h) > 1) {
      Tensor workspace = device.allocate("workspace", DType.BYTE, 1);
      refused(
          "attention_backward",
          () ->
              k.attentionBackward(
                  real("dQ", 64, 128),
                  real("dK", 64, 64),
                  real("dV", 64, 64),
                  real("dOut", 64, 128),
                  real("out", 64, 128),
                  real("lse", 1, 2, 64),
                  real("q", 64, 128),
                  real("k", 64, 64),
                  real("v", 64, 64),
                  h,
                  workspace));
    }
  }

  // ---- above: shapes that do not fit ------------------------------------------------------------

  private void unfit(String operation, Executable call) {
    var e = assertThrows(IllegalArgumentException.class, call);
    assertTrue(
        e.toString().contains(operation) && e.toString().matches("(?s).*\\[\\d+(, \\d+)*\\].*"),
        () -> operation + " and shapes are not in: " + e.getMessage());
  }

  @Test
  void shapesThatDoNotFitAreRefusedByOperationAndShapes() {
    Kernels k = device.kernels();
    Tensor x = real("x", 3, 4);
    Tensor other = real("other", 4, 3);
    Tensor row = real("row", 4);
    Tensor index = ints(0, 1, 2);
    Tensor columns = real("wide", 3, 9).columns(1, 4);
    Tensor half = device.allocate("half", DType.BF16, 3, 4);
    Tensor low = device.allocate("low", DType.I16, 5);
    var h = new Kernels.Heads(1, 3, 2, 1, 2);
    unfit("fill", () -> k.fill(columns, 1));
    unfit("convert", () -> k.convert(row, x));
    unfit("split", () -> k.split(half, low, x));
    unfit("join", () -> k.join(x, x, x));
    unfit("gather_rows", () -> k.gatherRows(x, other, index));
    unfit("scatter_rows", () -> k.scatterRows(x, half, index));
    unfit("embedding", () -> k.embedding(x, other, index));
    unfit("embedding", () -> k.embedding(x, x, ints(1)));
    unfit("embedding_backward", () -> k.embeddingBackward(other, x, index));
    unfit("rmsnorm", () -> k.rmsnorm(x, null, null, other, null, row, 1e-5f));
    unfit("rmsnorm", () -> k.rmsnorm(x, null, null, x, other, row, 1e-5f));
    unfit("rmsnorm_backward", () -> k.rmsnormBackward(x, row, x, x, row, row, null));
    unfit("rope", () -> k.rope(x, row, index, false));
    unfit("rope", () -> k.rope(x, real("table", 5, 3, 2), index, false));
    unfit("attention", () -> k.attention(x, null, x, x, x, h));
    unfit("attention_backward", () -> k.attentionBackward(x, x, x, x, x, row, x, x, x, h, row));
    unfit("cache_write", () -> k.cacheWrite(x, x, x, x, index, h));
    unfit("attention_decode", () -> k.attentionDecode(x, x, x, x, index, h));
    Tensor cache = real("cache", 1, 1, 4, 2);
    Tensor keys = real("keys", 3, 2);
    unfit("cache_write", () -> k.cacheWrite(cache, cache, keys, keys, row, h));
    unfit("cache_write", () -> k.cacheWrite(cache, cache, keys, keys, ints(0), h));
    Tensor query = real("query", 1, 4);
    unfit("attention_decode", () -> k.attentionDecode(query, query, cache, cache, row, h));
    unfit("attention_decode", () -> k.attentionDecode(query, query, cache, cache, ints(0, 1), h));
    unfit("swiglu", () -> k.swiglu(x, x, other));
    unfit("swiglu", () -> k.swiglu(x, x, columns));
    unfit("swiglu_backward", () -> k.swigluBackward(x, columns, x, x, x));
    unfit("matmul", () -> k.matmul(x, x, x, Kernels.Layout.NN, false));
    unfit("matmul", () -> k.matmul(half, x, real("b", 4, 4), Kernels.Layout.NN, false));
    unfit("matmul_packed", () -> k.matmulPacked(x, x, low, other));
    unfit("pack", () -> k.pack(columns, x));
    unfit("cross_entropy", () -> k.crossEntropy(row, null, x, index, 1));
    unfit("token_logprobs", () -> k.tokenLogprobs(row, x, index));
    unfit("top_k", () -> k.topK(index, row, x));
    unfit("argmax", () -> k.argmax(row, x));
    unfit(
        "generic_labels",
        () -> k.genericLabels(index, x, other, index, null, null, new float[] {5}));
    var how = new Kernels.AdamW(1, 0.9f, 0.9f, 1, 0, 1, 1, 1);
    unfit("adamw", () -> k.adamw(x, low, x, x, x, how, 0));
    unfit("adamw", () -> k.adamw(x, null, x, x, row, how, 0));
    unfit("sum_of_squares", () -> k.sumOfSquares(x, x));
  }
}
