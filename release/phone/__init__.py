"""Jobs for a phone: the job file, the verdict on what the phone answered, and the app over adb."""
