package org.lethe.kernels;

import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.net.JarURLConnection;
import java.net.URI;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Locale;
import org.bytedeco.javacpp.Loader;
import org.jspecify.annotations.Nullable;

/**
 * A loaded device library: a given file, or else {@code liblethe_NAME} from the file that the
 * system property {@code lethe.library.NAME} names or from its jar, with the libraries it needs
 * loaded before it.
 */
final class NativeLibrary {
  static final int ABI_VERSION = 4;
  private static final int RTLD_LAZY = 1;

  private final SymbolLookup symbols;
  private final Path file;

  private NativeLibrary(SymbolLookup symbols, Path file) {
    this.symbols = symbols;
    this.file = file;
  }

  /**
   * Loads the library of device {@code name}, or the file {@code given}; it stays loaded while
   * {@code arena} lives.
   */
  static NativeLibrary load(String name, @Nullable Path given, Arena arena) {
    String machine = System.getProperty("os.name") + " " + System.getProperty("os.arch");
    if (!machine.toLowerCase(Locale.ROOT).equals("linux amd64")) {
      throw unsupported("device '" + name + "' needs Linux on x86-64; this is " + machine);
    }
    try {
      if (name.equals("cpu")) {
        loadOneDnn();
      }
      Path file = given != null ? given : file(name);
      if (!Files.isRegularFile(file)) {
        throw unsupported("there is no library " + file);
      }
      var library = new NativeLibrary(open(file.toAbsolutePath(), arena), file);
      library.checkVersion();
      return library;
    } catch (IOException | IllegalArgumentException e) {
      throw unsupported("cannot load the library of device '" + name + "': " + e.getMessage());
    }
  }

  /** libdnnl finds its libgomp, and liblethe_cpu its libdnnl, by soname among what is loaded. */
  private static void loadOneDnn() throws IOException {
    limitSpinning();
    for (String needed : new String[] {"libgomp.so.1", "libdnnl.so.3"}) {
      SymbolLookup.libraryLookup(
          unpack("org/bytedeco/dnnl/linux-x86_64/" + needed), Arena.global());
    }
  }

  /**
   * The libcublasLt that the system property {@code lethe.cublas} names, or else that of JavaCPP's
   * CUDA on the class path; null leaves it to the system.
   */
  static @Nullable Path cublas() {
    String given = System.getProperty("lethe.cublas");
    if (given != null) {
      return Path.of(given).toAbsolutePath();
    }
    for (String version : new String[] {"13", "12"}) {
      String resource = "org/bytedeco/cuda/linux-x86_64/libcublasLt.so." + version;
      if (NativeLibrary.class.getClassLoader().getResource(resource) != null) {
        try {
          return unpack(resource);
        } catch (IOException e) {
          throw unsupported("cannot unpack JavaCPP's cuBLAS: " + e.getMessage());
        }
      }
    }
    return null;
  }

  private static Path file(String name) throws IOException {
    String property = System.getProperty("lethe.library." + name);
    return property != null
        ? Path.of(property)
        : unpack("org/lethe/native/linux-x86_64/liblethe_" + name + ".so");
  }

  private static SymbolLookup open(Path file, Arena arena) {
    try {
      return SymbolLookup.libraryLookup(file, arena);
    } catch (IllegalArgumentException e) {
      throw unsupported("cannot load " + whyNot(file));
    }
  }

  /** What the dynamic linker says of a bad library: Java keeps that to itself. */
  private static String whyNot(Path file) {
    MethodHandle dlopen =
        libc(
            "dlopen",
            FunctionDescriptor.of(
                ValueLayout.JAVA_LONG, ValueLayout.ADDRESS, ValueLayout.JAVA_INT));
    MethodHandle dlerror = libc("dlerror", FunctionDescriptor.of(ValueLayout.ADDRESS));
    try (Arena scratch = Arena.ofConfined()) {
      long handle = (long) dlopen.invokeExact(scratch.allocateFrom(file.toString()), RTLD_LAZY);
      MemorySegment why = (MemorySegment) dlerror.invokeExact();
      return handle == 0 && why.address() != 0
          ? why.reinterpret(4096).getString(0)
          : file.toString();
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable t) {
      throw new AssertionError(t);
    }
  }

  private static MethodHandle libc(String function, FunctionDescriptor descriptor) {
    Linker linker = Linker.nativeLinker();
    return linker.downcallHandle(linker.defaultLookup().findOrThrow(function), descriptor);
  }

  /** The file that was loaded. */
  Path file() {
    return file;
  }

  /** A function of the library; one that it lacks says so when it is called. */
  MethodHandle bind(String function, FunctionDescriptor descriptor) {
    return symbols
        .find(function)
        .map(address -> Linker.nativeLinker().downcallHandle(address, descriptor))
        .orElseGet(() -> lacking(function, descriptor.toMethodType()));
  }

  /** A function of {@code type} that throws. */
  private MethodHandle lacking(String function, MethodType type) {
    try {
      MethodHandle exception =
          MethodHandles.insertArguments(
              MethodHandles.lookup()
                  .findConstructor(
                      DeviceException.class,
                      MethodType.methodType(
                          void.class, DeviceException.Status.class, String.class)),
              0,
              DeviceException.Status.UNSUPPORTED,
              file.getFileName() + " lacks the function " + function);
      MethodHandle thrower = MethodHandles.throwException(type.returnType(), DeviceException.class);
      return MethodHandles.dropArguments(
          MethodHandles.foldArguments(thrower, exception), 0, type.parameterList());
    } catch (ReflectiveOperationException e) {
      throw new LinkageError(e.getMessage(), e);
    }
  }

  /** What the library says it would open by default, as a JSON object. */
  String describe() {
    MethodHandle describe =
        bind(
            "lethe_describe",
            FunctionDescriptor.of(
                ValueLayout.JAVA_INT,
                ValueLayout.JAVA_LONG,
                ValueLayout.ADDRESS,
                ValueLayout.JAVA_LONG));
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment buffer = arena.allocate(8192);
      int status = (int) describe.invokeExact(0L, buffer, buffer.byteSize());
      return status == 0 ? buffer.getString(0) : "{}";
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable t) {
      throw new AssertionError(t);
    }
  }

  private void checkVersion() {
    int found;
    try {
      found =
          (int)
              bind("lethe_abi_version", FunctionDescriptor.of(ValueLayout.JAVA_INT)).invokeExact();
    } catch (DeviceException e) {
      throw e;
    } catch (Throwable t) {
      throw new AssertionError(t);
    }
    if (found != ABI_VERSION) {
      throw unsupported(
          file
              + " has ABI version "
              + found
              + ", this Lethe needs "
              + ABI_VERSION
              + ": use the library built with it");
    }
  }

  /**
   * Idle OpenMP workers sleep after some ten microseconds instead of milliseconds, so that an
   * embedding service keeps its cores. libgomp reads this when it is loaded, hence before.
   */
  private static void limitSpinning() {
    if (System.getenv("GOMP_SPINCOUNT") != null || System.getenv("OMP_WAIT_POLICY") != null) {
      return;
    }
    MethodHandle setenv =
        libc(
            "setenv",
            FunctionDescriptor.of(
                ValueLayout.JAVA_INT,
                ValueLayout.ADDRESS,
                ValueLayout.ADDRESS,
                ValueLayout.JAVA_INT));
    try (Arena arena = Arena.ofConfined()) {
      int _ =
          (int)
              setenv.invokeExact(
                  arena.allocateFrom("GOMP_SPINCOUNT"), arena.allocateFrom("20000"), 0);
    } catch (Throwable t) {
      throw new AssertionError(t);
    }
  }

  private static Path unpack(String resource) throws IOException {
    URL url = NativeLibrary.class.getClassLoader().getResource(resource);
    if (url == null) {
      throw unsupported(
          "not on the class path: "
              + resource
              + " (is its jar missing, or not built yet? ./lethe build --help)");
    }
    if (!(url.openConnection() instanceof JarURLConnection jar)) {
      return Path.of(URI.create(url.toString()));
    }
    // Named by its contents: built anew it is another file, though its size and its jar's times are
    // the same.
    Path name = Path.of(resource).getFileName();
    Path folder =
        Loader.getCacheDir()
            .toPath()
            .resolve("lethe")
            .resolve(Long.toHexString(jar.getJarEntry().getCrc()));
    Path file = folder.resolve(name);
    if (!Files.exists(file)) {
      Files.createDirectories(folder);
      Path aside = Files.createTempFile(folder, name.toString(), null);
      try (InputStream in = url.openStream()) {
        Files.copy(in, aside, StandardCopyOption.REPLACE_EXISTING);
        Files.move(aside, file, StandardCopyOption.ATOMIC_MOVE);
      } finally {
        Files.deleteIfExists(aside);
      }
    }
    return file;
  }

  private static DeviceException unsupported(String message) {
    return new DeviceException(DeviceException.Status.UNSUPPORTED, message);
  }
}
