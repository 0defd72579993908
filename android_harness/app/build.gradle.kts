plugins {
    id("com.android.application") version "8.7.3"
    id("org.jetbrains.kotlin.android") version "2.0.21"
}

// The last version that has FaceStylizer.
val tasksVision = "0.10.26"

android {
    namespace = "org.mmfacestylizer.benchmark"
    compileSdk = 35

    defaultConfig {
        applicationId = "org.mmfacestylizer.benchmark"
        // The minimum of MediaPipe Tasks.
        minSdk = 24
        targetSdk = 35
        versionCode = 1
        versionName = "1"
        buildConfigField("String", "TASKS_VISION", "\"$tasksVision\"")
    }

    buildTypes {
        release {
            isMinifyEnabled = false
            // The app is never published, so that any key will do, and the debug key needs no
            // setup. A debug build would run slower than a released app.
            signingConfig = signingConfigs.getByName("debug")
        }
    }

    buildFeatures {
        buildConfig = true
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }

    kotlinOptions {
        jvmTarget = "17"
    }
}

dependencies {
    implementation("com.google.mediapipe:tasks-vision:$tasksVision")
}
