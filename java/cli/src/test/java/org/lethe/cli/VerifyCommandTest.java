package org.lethe.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.lethe.kernels.Device;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class VerifyCommandTest {
  @TempDir private Path temporary;

  private static Path own() {
    try (Device device = Device.open("cpu", new Device.Options(1, null))) {
      return device.library().toAbsolutePath();
    }
  }

  /** A library of {@code source}, and of Lethe's own wherever that defines nothing. */
  private Path library(String source, Path... others) throws IOException, InterruptedException {
    Path file = temporary.resolve("libmine.so");
    Path code =
        Files.writeString(temporary.resolve("mine.cpp"), "#include \"lethe.h\"\n" + source + "\n");
    var command =
        new ArrayList<>(
            List.of(
                "g++",
                "-Wmissing-declarations",
                "-Werror",
                "-shared",
                "-fPIC",
                "-I",
                "../../native/include",
                "-o",
                file.toString()));
    command.add(code.toString());
    command.add("-Wl,--no-as-needed");
    for (Path other : others) {
      command.addAll(List.of(other.toString(), "-Wl,-rpath," + other.getParent()));
    }
    Process compiler = new ProcessBuilder(command).redirectErrorStream(true).start();
    String said = new String(compiler.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertEquals(0, compiler.waitFor(), said);
    return file;
  }

  private static Ran verify(String arguments, Object... values) {
    return Ran.computing("verify " + arguments, values);
  }

  private static JsonNode json(Path file) throws IOException {
    return new JsonMapper().readTree(Files.readString(file));
  }

  @Test
  void lethesOwnKernelsHold() throws IOException {
    Path json = temporary.resolve("verdicts.json");
    Ran ran = verify("--filter swiglu*,argmax --dtype bf16 --json %s", json).done();
    assertTrue(ran.out().matches("(?s)device cpu, .*\nall \\d+ trials hold\n"), ran.out());
    assertTrue(ran.err().contains("swiglu_backward BF16\n"), ran.err());
    assertFalse((ran.out() + ran.err()).contains("F32"), ran.out());
    JsonNode all = json(json);
    assertTrue(all.path("holds").asBoolean(), all::toString);
    assertEquals("cpu", all.path("description").path("device").asString());
    JsonNode operations = all.path("operations");
    assertEquals(
        List.of("swiglu", "swiglu_backward", "argmax"), // as in lethe.h
        operations.valueStream().map(o -> o.path("operation").asString()).toList());
    JsonNode swiglu = operations.get(0);
    assertTrue(swiglu.path("trials").asInt() > 20, swiglu::toString);
    double error = swiglu.path("error").asDouble();
    assertTrue(error > 0 && error <= swiglu.path("tolerance").asDouble(), swiglu::toString);
    assertEquals(0, swiglu.path("failures").size());
  }

  @Test
  void aWrongKernelIsFoundAndNamed() throws IOException, InterruptedException {
    Path library =
        library(
            """
            lethe_status lethe_argmax(lethe_device *, int32_t *index, const void *, int32_t, int64_t N, int64_t, lethe_stream *) {
              for (int64_t n = 0; n < N; n++) index[n] = 0;
              return LETHE_OK;
            }
            """,
            own());
    Path json = temporary.resolve("verdicts.json");
    Ran ran = verify("--library %s --filter argmax,top_k --dtype f32 --json %s", library, json);
    assertEquals(Main.FAILED, ran.code(), ran::toString);
    assertTrue(ran.out().contains("device cpu, " + library + "\n"), ran.out());
    assertTrue(
        ran.out()
            .matches(
                "(?s).*top_k +F32 +\\d+ +\\S+ +\\S+  holds\\nargmax +F32 .* FAILS in \\d+\\n.*"),
        ran.out());
    assertTrue(
        ran.out()
            .matches(
                "(?s).*\\nargmax F32, N=3 V=127: index I32\\[3\\]\\[\\d\\] is 0.0, the reference .*"),
        ran.out());
    JsonNode argmax = json(json).path("operations").get(1);
    assertFalse(json(json).path("holds").asBoolean());
    assertFalse(argmax.path("holds").asBoolean());
    assertTrue(
        argmax.path("error").isNull() && argmax.path("failures").size() > 5, argmax::toString);
    assertTrue(argmax.path("failures").get(0).path("trial").asString().contains("V="));
  }

  @Test
  void aKernelThatWritesWhereItMustNotIsFound() throws IOException, InterruptedException {
    Path library =
        library(
            """
            lethe_status lethe_fill(lethe_device *, void *x, int32_t dtype, int64_t n, float value, lethe_stream *) {
              if (dtype != LETHE_F32) return LETHE_UNSUPPORTED;
              for (int64_t i = -1; i < n; i++) if (i >= 0 || n % 1024 != 0) static_cast<float *>(x)[i] = value;
              return LETHE_OK;
            }
            """,
            own());
    Ran ran = verify("--library %s --filter fill --dtype f32", library);
    assertEquals(Main.FAILED, ran.code(), ran::toString);
    assertTrue(ran.out().contains("is not the call's to write"), ran.out());
  }

  @Test
  void aMissingFunctionIsSaidWhenItIsCalled() throws IOException {
    String bytes = Files.readString(own(), StandardCharsets.ISO_8859_1);
    Path library =
        Files.writeString(
            temporary.resolve("libhalf.so"),
            bytes.replace("\0lethe_rope\0", "\0lethe_ripe\0"),
            StandardCharsets.ISO_8859_1);
    Ran ran = verify("--library %s --filter fill,rope", library);
    assertEquals(Main.FAILED, ran.code(), ran::toString);
    assertEquals(2, ran.out().lines().filter(l -> l.matches("fill .* holds")).count(), ran.out());
    assertEquals(
        2,
        ran.out()
            .lines()
            .filter(
                l -> l.matches("rope .* and \\d+ more: libhalf.so lacks the function lethe_rope"))
            .count(),
        ran.out());
  }

  @Test
  void whatIsNoLibraryOfKernelsIsRefusedInALine() throws IOException, InterruptedException {
    Path missing = temporary.resolve("missing.so");
    verify("--library %s", missing).refused(Main.FAILED, "there is no library " + missing);
    Path text = Files.writeString(temporary.resolve("text.so"), "Call me Ishmael.");
    verify("--library %s --device cpu", text).refused(Main.FAILED, "file too short");
    Path other = library("int32_t lethe_abi_version(void) { return 99; }");
    verify("--library %s", other).refused(Main.FAILED, "has ABI version 99");
    Path empty = Files.move(library(""), temporary.resolve("libempty.so"));
    verify("--library %s", empty)
        .refused(Main.FAILED, "libempty.so lacks the function lethe_abi_version");
    Path half =
        Files.move(
            library("int32_t lethe_abi_version(void) { return LETHE_ABI_VERSION; }"),
            temporary.resolve("libhalf.so"));
    verify("--library %s --device cpu", half)
        .refused(Main.FAILED, "libhalf.so lacks the function lethe_open");
  }

  @Test
  void whatCannotBeTriedIsRefused() {
    verify("--filter swigloo").refused(Main.USAGE, "there is no operation 'swigloo'");
    verify("--filter adamw --dtype bf16").refused(Main.USAGE, "'adamw'");
    verify("--dtype fp16").refused(Main.USAGE, "fp16");
    verify("--device abacus").refused(Main.USAGE, "abacus");
  }
}
