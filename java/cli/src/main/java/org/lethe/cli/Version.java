package org.lethe.cli;

import picocli.CommandLine.IVersionProvider;

/** {@code lethe --version}. */
final class Version implements IVersionProvider {
  @Override
  public String[] getVersion() {
    String version = Version.class.getPackage().getImplementationVersion();
    return new String[] {
      "lethe " + (version == null ? "development" : version), "java " + Runtime.version()
    };
  }
}
