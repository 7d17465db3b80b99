"""What the builders of the APK and the AAR share."""
