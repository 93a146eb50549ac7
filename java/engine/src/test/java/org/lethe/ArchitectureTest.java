package org.lethe;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;

import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.lang.ArchRule;
import com.tngtech.archunit.library.GeneralCodingRules;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.lethe.text.ModelFiles;

/** The package arrows of DESIGN.md, and what a library must not do. */
class ArchitectureTest {
  private static final List<String> PACKAGES =
      List.of("kernels", "model", "format", "text", "train", "unlearn", "eval");

  private final JavaClasses engine =
      new ClassFileImporter()
          .withImportOption(new ImportOption.DoNotIncludeTests())
          .importPackages("org.lethe");

  @Test
  void aPackageImportsOnlyThoseBeforeIt() {
    for (int i = 0; i < PACKAGES.size() - 1; i++) {
      String[] later =
          PACKAGES.subList(i + 1, PACKAGES.size()).stream()
              .map(p -> "org.lethe." + p + "..")
              .toArray(String[]::new);
      check(
          noClasses()
              .that()
              .resideInAPackage("org.lethe." + PACKAGES.get(i) + "..")
              .should()
              .dependOnClassesThat()
              .resideInAnyPackage(later));
    }
  }

  @Test
  void everyClassIsInOneOfThePackages() {
    check(
        noClasses()
            .should()
            .resideOutsideOfPackages(
                PACKAGES.stream().map(p -> "org.lethe." + p + "..").toArray(String[]::new)));
  }

  @Test
  void onlyKernelsCrossesIntoNativeCode() {
    check(
        noClasses()
            .that()
            .resideOutsideOfPackage("org.lethe.kernels..")
            .should()
            .dependOnClassesThat()
            .haveFullyQualifiedName("java.lang.foreign.Linker"));
  }

  @Test
  void theEnginePrintsNothing() {
    check(GeneralCodingRules.NO_CLASSES_SHOULD_ACCESS_STANDARD_STREAMS);
  }

  @Test
  void theEngineExitsNothing() {
    check(
        noClasses()
            .should()
            .callMethod(System.class, "exit", int.class)
            .orShould()
            .callMethod(Runtime.class, "exit", int.class)
            .orShould()
            .callMethod(Runtime.class, "halt", int.class));
  }

  /** Loading a model does, for as long as it loads. */
  @Test
  void theEngineStartsNoOtherThread() {
    check(
        noClasses()
            .that()
            .doNotBelongToAnyOf(ModelFiles.class)
            .should()
            .callMethod(Thread.class, "start")
            .orShould()
            .callMethod(Thread.class, "ofPlatform")
            .orShould()
            .callMethod(Thread.class, "ofVirtual")
            .orShould()
            .dependOnClassesThat()
            .haveFullyQualifiedName("java.util.concurrent.Executors")
            .orShould()
            .dependOnClassesThat()
            .haveFullyQualifiedName("java.util.concurrent.CompletableFuture"));
  }

  private void check(ArchRule rule) {
    rule.allowEmptyShould(true).check(engine);
  }
}
