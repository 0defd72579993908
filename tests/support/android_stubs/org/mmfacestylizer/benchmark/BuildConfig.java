package org.mmfacestylizer.benchmark;

/** Gradle's plug-in for Android makes this class for an app. */
public final class BuildConfig {
    public static final String TASKS_VISION = "0.10.26";
}
