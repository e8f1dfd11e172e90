@echo off
rem install.bat [RegisterManagedInstance CODE ID REGION]: install.ps1 beside it, with the stock agent's words.
rem Exit codes: 0 done, 1 not, and why.
setlocal
set "powershell=%SystemRoot%\System32\WindowsPowerShell\v1.0\powershell.exe"
set "script=%~dp0install.ps1"
if "%~1"=="" (
    "%powershell%" -NoProfile -NonInteractive -ExecutionPolicy Bypass -File "%script%"
    goto end
)
if /i not "%~1"=="RegisterManagedInstance" goto usage
if "%~4"=="" goto usage
if not "%~5"=="" goto usage
"%powershell%" -NoProfile -NonInteractive -ExecutionPolicy Bypass -File "%script%" -Register -Code "%~2" -Id "%~3" -Region "%~4"
:end
if errorlevel 1 exit /b 1
exit /b 0
:usage
echo usage: install.bat [RegisterManagedInstance CODE ID REGION] 1>&2
exit /b 1
