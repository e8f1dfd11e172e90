@echo off
rem uninstall.bat [RemoveProgramData]: uninstall.ps1 beside it, with the stock agent's words.
rem Exit codes: 0 done, 1 not, and why.
setlocal
set "powershell=%SystemRoot%\System32\WindowsPowerShell\v1.0\powershell.exe"
set "script=%~dp0uninstall.ps1"
set "remove="
if /i "%~1"=="RemoveProgramData" set "remove=-RemoveProgramData"
if not "%~1"=="" if not defined remove goto usage
if not "%~2"=="" goto usage
"%powershell%" -NoProfile -NonInteractive -ExecutionPolicy Bypass -File "%script%" %remove%
if errorlevel 1 exit /b 1
exit /b 0
:usage
echo usage: uninstall.bat [RemoveProgramData] 1>&2
exit /b 1
