package org.lethe.kernels;

import java.io.File;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import org.bytedeco.javacpp.Loader;

/**
 * A loaded device library: {@code liblethe_NAME}, from the file that the system property {@code
 * lethe.library.NAME} names or else from its jar, with the libraries it needs loaded before it.
 */
final class NativeLibrary {
  static final int ABI_VERSION = 2;

  private final SymbolLookup symbols;
  private final Path file;

  private NativeLibrary(SymbolLookup symbols, Path file) {
    this.symbols = symbols;
    this.file = file;
  }

  /** Loads the library of device {@code name}; it stays loaded while {@code arena} lives. */
  static NativeLibrary load(String name, Arena arena) {
    String machine = System.getProperty("os.name") + " " + System.getProperty("os.arch");
    if (!machine.toLowerCase(Locale.ROOT).equals("linux amd64")) {
      throw unsupported("device '" + name + "' needs Linux on x86-64; this is " + machine);
    }
    try {
      String given = System.getProperty("lethe.library." + name);
      if (given != null && !Files.isRegularFile(Path.of(given))) {
        throw unsupported("lethe.library." + name + "=" + given + ": there is no such file");
      }
      limitSpinning();
      // libdnnl finds its libgomp, and liblethe its libdnnl, by soname among what is loaded.
      for (String needed : new String[] {"libgomp.so.1", "libdnnl.so.3"}) {
        SymbolLookup.libraryLookup(
            unpack("org/bytedeco/dnnl/linux-x86_64/" + needed), Arena.global());
      }
      Path file =
          given != null
              ? Path.of(given).toAbsolutePath()
              : unpack("org/lethe/native/linux-x86_64/liblethe_" + name + ".so");
      var library = new NativeLibrary(SymbolLookup.libraryLookup(file, arena), file);
      library.checkVersion();
      return library;
    } catch (IOException | IllegalArgumentException e) {
      throw unsupported("cannot load the library of device '" + name + "': " + e.getMessage());
    }
  }

  /** The file that was loaded. */
  Path file() {
    return file;
  }

  MethodHandle bind(String function, FunctionDescriptor descriptor) {
    MemorySegment address =
        symbols
            .find(function)
            .orElseThrow(() -> unsupported(file + " lacks the function " + function));
    return Linker.nativeLinker().downcallHandle(address, descriptor);
  }

  private void checkVersion() {
    int found;
    try {
      found =
          (int)
              bind("lethe_abi_version", FunctionDescriptor.of(ValueLayout.JAVA_INT)).invokeExact();
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
        Linker.nativeLinker()
            .downcallHandle(
                Linker.nativeLinker().defaultLookup().findOrThrow("setenv"),
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
          "not on the class path: " + resource + " (is its jar missing, or not built yet?)");
    }
    if (url.getProtocol().equals("file")) {
      return Path.of(url.getPath()).toAbsolutePath();
    }
    File file = Loader.cacheResource(url);
    if (file == null) {
      throw new IOException("could not unpack " + url);
    }
    return file.toPath();
  }

  private static DeviceException unsupported(String message) {
    return new DeviceException(DeviceException.Status.UNSUPPORTED, message);
  }
}
