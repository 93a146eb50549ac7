package org.lethe.conformance;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.Arrays;
import java.util.List;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.kernels.Tensor;

/** Where the operands of a trial lie, each in a region of its own that is sentinels around it. */
enum Placement {
  /** In the device's own memory, aligned to 64 bytes. */
  DEVICE("in device memory"),
  /** In the device's own memory, aligned to no more than the element. */
  UNALIGNED("unaligned"),
  /** Ending where a page without any access begins, aligned to no more than the element. */
  BEFORE_GUARD("before a guard page"),
  /** Beginning where a page without any access ends. */
  AFTER_GUARD("after a guard page");

  private static final int PAGE = 4096;
  private static final int MARGIN = 64;

  private final String text;

  Placement(String text) {
    this.text = text;
  }

  @Override
  public String toString() {
    return text;
  }

  /**
   * Where operands can lie on {@code device}: at guard pages, which find every stray access, if the
   * host can address its memory; else where at least stray writes are found.
   */
  static List<Placement> on(Device device) {
    return device.hostAddressable()
        ? List.of(DEVICE, BEFORE_GUARD, AFTER_GUARD)
        : List.of(DEVICE, UNALIGNED);
  }

  /** A region of memory with an operand in it. */
  static final class Region implements AutoCloseable {
    private final Tensor bytes;
    private final int offset;
    private final Runnable release;

    private Region(Tensor bytes, int offset, Runnable release) {
      this.bytes = bytes;
      this.offset = offset;
      this.release = release;
    }

    /** Writes the operand's image with sentinels around it, and points the operand here. */
    void write(Operand operand) {
      byte[] image = new byte[(int) bytes.bytes()];
      Arrays.fill(image, Operand.SENTINEL);
      System.arraycopy(operand.before, 0, image, offset, operand.before.length);
      try (Arena arena = Arena.ofConfined()) {
        bytes.copyFrom(arena.allocateFrom(ValueLayout.JAVA_BYTE, image));
      }
      operand.tensor =
          operand.stride == operand.width
              ? bytes.cast(operand.name, operand.dtype, offset, operand.shape)
              : bytes
                  .cast(operand.name, operand.dtype, offset, operand.span())
                  .spaced(operand.rows, operand.width, operand.stride - operand.width);
    }

    /** Reads the operand back; every byte that the call had no business with must be as it was. */
    void read(Operand operand) {
      byte[] image;
      try (Arena arena = Arena.ofConfined()) {
        MemorySegment segment = arena.allocate(bytes.bytes());
        bytes.copyTo(segment);
        image = segment.toArray(ValueLayout.JAVA_BYTE);
      }
      for (int i = 0; i < image.length; i++) {
        int at = i - offset;
        boolean inside = at >= 0 && at < operand.before.length;
        byte expected = inside ? operand.before[at] : Operand.SENTINEL;
        if (image[i] != expected && !(inside && operand.mayChange(at))) {
          throw new WrongResult(
              "%s: byte %d (of %d) was %02x, is %02x, and is not the call's to write"
                  .formatted(operand, at, operand.before.length, expected, image[i]));
        }
      }
      operand.after = Arrays.copyOfRange(image, offset, offset + operand.before.length);
    }

    @Override
    public void close() {
      release.run();
    }
  }

  /** A region for {@code operand}. */
  Region region(Device device, Operand operand) {
    int length = operand.before.length;
    if (this == DEVICE || this == UNALIGNED) {
      boolean aligned = this == DEVICE || operand.role == Operand.Role.WORKSPACE;
      int offset = MARGIN + (aligned ? 0 : operand.dtype.bytes());
      Tensor bytes = device.allocate(operand.name, DType.BYTE, offset + length + MARGIN);
      return new Region(bytes, offset, bytes::close);
    }
    // guard page, whole pages, guard page
    int inner = (length + PAGE - 1) / PAGE * PAGE;
    long base = GuardedPages.map(inner + 2L * PAGE, PAGE, inner);
    int slack = inner - length;
    int offset =
        this == AFTER_GUARD
            ? 0
            : operand.role == Operand.Role.WORKSPACE ? slack / MARGIN * MARGIN : slack;
    MemorySegment pages = MemorySegment.ofAddress(base + PAGE).reinterpret(inner);
    Tensor bytes = device.wrap(operand.name, DType.BYTE, pages, inner);
    return new Region(bytes, offset, () -> GuardedPages.unmap(base, inner + 2L * PAGE));
  }

  /** mmap with a page on either side that faults on any access. */
  private static final class GuardedPages {
    private static final MethodHandle MMAP =
        bind(
            "mmap",
            FunctionDescriptor.of(
                ValueLayout.JAVA_LONG,
                ValueLayout.JAVA_LONG,
                ValueLayout.JAVA_LONG,
                ValueLayout.JAVA_INT,
                ValueLayout.JAVA_INT,
                ValueLayout.JAVA_INT,
                ValueLayout.JAVA_LONG));
    private static final MethodHandle MPROTECT =
        bind(
            "mprotect",
            FunctionDescriptor.of(
                ValueLayout.JAVA_INT,
                ValueLayout.JAVA_LONG,
                ValueLayout.JAVA_LONG,
                ValueLayout.JAVA_INT));
    private static final MethodHandle MUNMAP =
        bind(
            "munmap",
            FunctionDescriptor.of(
                ValueLayout.JAVA_INT, ValueLayout.JAVA_LONG, ValueLayout.JAVA_LONG));
    private static final int NONE = 0;
    private static final int READ_WRITE = 3;
    private static final int PRIVATE_ANONYMOUS = 0x22;

    private static MethodHandle bind(String name, FunctionDescriptor descriptor) {
      Linker linker = Linker.nativeLinker();
      return linker.downcallHandle(linker.defaultLookup().findOrThrow(name), descriptor);
    }

    static long map(long bytes, long from, long count) {
      try {
        long base = (long) MMAP.invokeExact(0L, bytes, NONE, PRIVATE_ANONYMOUS, -1, 0L);
        int failed = (int) MPROTECT.invokeExact(base + from, count, READ_WRITE);
        if (base == -1 || failed != 0) {
          throw new OutOfMemoryError("cannot map " + bytes + " guarded bytes");
        }
        return base;
      } catch (Error e) {
        throw e;
      } catch (Throwable t) {
        throw new AssertionError(t);
      }
    }

    static void unmap(long base, long bytes) {
      try {
        int _ = (int) MUNMAP.invokeExact(base, bytes);
      } catch (Throwable t) {
        throw new AssertionError(t);
      }
    }
  }
}
